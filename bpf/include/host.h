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

#define IDENTITY_REMOTE_NODE 6 /* what a node calls itself on the wire */

/* The agent gives the host's identity to no address but the node's own. */
__inline_always int is_own(__u32 address)
{
	struct ipcache_value *entry = ipcache_of(address);

	return entry && entry->identity == IDENTITY_HOST;
}

/* A pod of this node speaks through its own device, also where the stack took its packet in
 * between; from anywhere else its address is a stranger's pretence. */
__inline_always int is_forged(struct __sk_buff *skb, __u32 address)
{
	struct endpoint_value *local = endpoint_of(address);

	return local && local->ifindex != skb->ingress_ifindex;
}

/* What comes through the tunnel for no endpoint. Only answers to what the node itself sent may
 * pass: from the underlay the node is as open as its administrator wants, a tunnel must not
 * open it further. */
__inline_always int admit_to_host(struct __sk_buff *skb, struct packet *packet)
{
	if (!is_own(packet->tuple.daddr))
		return drop(skb, DROP_NO_LOCAL_ENDPOINT, METRIC_INGRESS);
	if (!ct_is_reply(packet, CT_IN, skb->len))
		return drop(skb, DROP_POLICY, METRIC_INGRESS);
	/* the inner frame had a stranger's MAC; the stack would discard it */
	bpf_skb_change_type(skb, PACKET_FOR_US);
	count(FORWARDED, METRIC_INGRESS, skb->len);
	return PASS;
}

#endif
