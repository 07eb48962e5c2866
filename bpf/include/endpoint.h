/* SPDX-License-Identifier: Apache-2.0
 *
 * Who has an address: an endpoint of this node, or an entry of the ipcache;
 * and how a packet gets into a local endpoint.
 */
#ifndef CLUSTERMESH_ENDPOINT_H
#define CLUSTERMESH_ENDPOINT_H

#include "events.h"

#define MAC_LENGTH 6
#define PACKET_FOR_US 0 /* PACKET_HOST */

__inline_always struct endpoint_value *endpoint_of(__u32 address)
{
	struct endpoint_key key = {};

	key.address[0] = address;
	key.family = FAMILY_IPV4;
	return cilium_lxc.lookup(&key);
}

__inline_always struct ipcache_value *ipcache_of(__u32 address)
{
	struct ipcache_key key = {};

	key.prefixlen = LPM_FIXED_BITS + 32;
	key.family = FAMILY_IPV4;
	key.address[0] = address;
	return cilium_ipcache_v2.lookup(&key);
}

__inline_always struct node_config_value *node_config(void)
{
	int index = 0;

	return cilium_node_config.lookup(&index);
}

/* Into the pod's own namespace, past the host's side of its veth: the program
 * there (to_container) judges only what comes from the stack. */
__inline_always int deliver(struct __sk_buff *skb, struct endpoint_value *endpoint)
{
	__u8 macs[2 * MAC_LENGTH];

	__builtin_memcpy(macs, &endpoint->mac, MAC_LENGTH);
	__builtin_memcpy(macs + MAC_LENGTH, &endpoint->node_mac, MAC_LENGTH);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return drop(skb, DROP_WRITE_ERROR, METRIC_INGRESS);
	/* the inner frame had a stranger's MAC; the stack would discard it */
	bpf_skb_change_type(skb, PACKET_FOR_US);
	count(FORWARDED, METRIC_INGRESS, skb->len);
	return bpf_redirect_peer(endpoint->ifindex, 0);
}

/* May the endpoint be reached by this identity? */
__inline_always void ask_ingress(struct question *ask, struct endpoint_value *endpoint, __u32 source)
{
	ask->peer = source;
	ask->source = source;
	ask->lxc_id = endpoint->lxc_id;
	ask->direction = DIRECTION_INGRESS;
	ask->ranges = !!(endpoint->flags & ENDPOINT_PORT_RANGES);
	/* a node may always reach its own pods: probes must not depend on policy */
	ask->enforced = (endpoint->flags & ENDPOINT_INGRESS_ENFORCED) && source != IDENTITY_HOST;
}

__inline_always int admit_ingress(struct __sk_buff *skb, struct packet *packet,
				  struct endpoint_value *endpoint, __u32 source)
{
	struct question ask = {};

	ask_ingress(&ask, endpoint, source);
	return admit(skb, packet, &ask);
}

#endif
