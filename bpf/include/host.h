/* SPDX-License-Identifier: Apache-2.0
 *
 * The node itself as one end of the tunnel: its own processes and pods with hostNetwork.
 *
 * They speak from the node's address among the pods (CiliumInternalIP), because that is what
 * other nodes send into the tunnel; the InternalIP they would answer through the underlay,
 * where a pod's address as source is a stranger's.
 */
#ifndef CLUSTERMESH_HOST_H
#define CLUSTERMESH_HOST_H

#include "endpoint.h"

#define IDENTITY_HEALTH 4
#define IDENTITY_REMOTE_NODE 6 /* what a node calls itself on the wire */
#define HEALTH_PORT 4240

/* Host or health; 0 for an address that is not the node's own. The agent gives the host's
 * identity to no other address, and others' health addresses are behind a node. */
__inline_always __u32 own_identity(__u32 address)
{
	struct ipcache_value *entry = ipcache_of(address);

	if (!entry || entry->tunnel[0])
		return 0;
	return entry->identity == IDENTITY_HOST || entry->identity == IDENTITY_HEALTH ? entry->identity : 0;
}

/* Does another node ask whether packets arrive? */
__inline_always int is_health_probe(struct packet *packet, __u32 source)
{
	if (source != IDENTITY_REMOTE_NODE)
		return 0;
	if (packet->tuple.nexthdr == PROTO_TCP)
		return packet->tuple.dport == swap16(HEALTH_PORT);
	return packet->tuple.nexthdr == PROTO_ICMP && packet->policy_port == swap16(ICMP_TYPES + ICMP_ECHO_REQUEST);
}

/* A pod of this node speaks through its own device, also where the stack took its packet in
 * between; from anywhere else its address is a stranger's pretence. */
__inline_always int is_forged(struct __sk_buff *skb, __u32 address)
{
	struct endpoint_value *local = endpoint_of(address);

	return local && local->ifindex != skb->ingress_ifindex;
}

/* What comes through the tunnel for no endpoint. Only answers to what the node itself sent may
 * pass, and probes of its health address: from the underlay the node is as open as its
 * administrator wants, a tunnel must not open it further. */
__inline_always int admit_to_host(struct __sk_buff *skb, struct packet *packet, __u32 source)
{
	__u32 own = own_identity(packet->tuple.daddr);

	if (!own)
		return drop(skb, DROP_NO_LOCAL_ENDPOINT, METRIC_INGRESS);
	if (!(own == IDENTITY_HEALTH && is_health_probe(packet, source)) &&
	    !ct_is_reply(packet, CT_IN, skb->len))
		return drop(skb, DROP_POLICY, METRIC_INGRESS);
	/* the inner frame had a stranger's MAC; the stack would discard it */
	bpf_skb_change_type(skb, PACKET_FOR_US);
	count(FORWARDED, METRIC_INGRESS, skb->len);
	return PASS;
}

#endif
