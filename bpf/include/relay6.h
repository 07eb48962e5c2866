/* SPDX-License-Identifier: Apache-2.0
 *
 * As the second half of nat.h, for IPv6: the address and port of this node for a connection that it relays.
 */
#ifndef CLUSTERMESH_RELAY6_H
#define CLUSTERMESH_RELAY6_H

#include "nat6.h"

__inline_always int is_tunnelled6(struct ipcache_value *remote)
{
	return remote && remote->tunnel[0] && !(remote->flags & IPCACHE_SKIP_TUNNEL);
}

/* The address that backends of other nodes see; ::, if the node has none. See relay_address. */
__inline_always void relay_address6(struct ipcache_value *remote, struct address6 *address)
{
	struct nodeport6_config_value *config = nodeport6_config();

	if (!config)
		return;
	if (is_tunnelled6(remote) && !is_unset6(&config->tunnel_source))
		*address = config->tunnel_source;
	else
		*address = config->node_ip;
}

/* Towards a backend that is reached by the network between the nodes. */
__inline_always int redirect_to_underlay6(struct __sk_buff *skb)
{
	struct nodeport6_config_value *config = nodeport6_config();

	count(FORWARDED, METRIC_EGRESS, skb->len);
	return redirect_to_neighbour(config && config->device ? config->device : skb->ifindex, 0, 0, 0);
}

/* Through the tunnel, or by the network between the nodes. */
__inline_always int send_to_backend6(struct __sk_buff *skb, struct ipcache_value *remote, __u32 identity)
{
	if (!is_tunnelled6(remote))
		return redirect_to_underlay6(skb);
	if (remote->flags & IPCACHE_IPV6_TUNNEL) /* the tunnel is one of IPv4 */
		return drop(skb, DROP_NO_TUNNEL, METRIC_EGRESS);
	return encapsulate(skb, remote->tunnel[0], identity_outside(identity));
}

/* Is the connection from `client` to `backend`, as a packet of that direction has it, still known? */
__inline_always int relay_lives6(struct ct6_key *towards)
{
	towards->flags = CT_SERVICE | CT_IN;
	return ct6_exists(towards);
}

/* Does a socket of the node itself have this port towards the backend? */
__inline_always int is_own_socket6(struct __sk_buff *skb, struct ct6_key *back)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *found;

	/* as in a packet that comes in */
	__builtin_memcpy(tuple.ipv6.saddr, &back->saddr, sizeof(back->saddr));
	__builtin_memcpy(tuple.ipv6.daddr, &back->daddr, sizeof(back->daddr));
	tuple.ipv6.sport = back->sport;
	tuple.ipv6.dport = back->dport;
	if (back->nexthdr == PROTO_TCP)
		found = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	else
		found = bpf_sk_lookup_udp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (!found)
		return 0;
	bpf_sk_release(found);
	return 1;
}

/* Take the port in `back` for this connection, unless a living one has it. */
__inline_always int claim_port6(struct __sk_buff *skb, struct ct6_key *towards, struct ct6_key *back)
{
	struct snat6_value client = {}, *other;

	other = cilium_snat_v6_external.lookup(back);
	if (other) {
		struct ct6_key others WORDS = {};

		ct6_reverse(&others, back);
		others.saddr = other->address;
		others.sport = other->port;
		if (relay_lives6(&others))
			return 0;
		cilium_snat_v6_external.delete(back);
	}
	if (is_own_socket6(skb, back))
		return 0;
	client.created = bpf_ktime_get_ns();
	client.address = towards->saddr;
	client.port = towards->sport;
	return !cilium_snat_v6_external.insert(back, &client);
}

__inline_always int is_mapped_back(struct ct6_key *back, struct ct6_key *towards)
{
	struct snat6_value *client = cilium_snat_v6_external.lookup(back);

	return client && same6(&client->address, &towards->saddr) && client->port == towards->sport;
}

/* The port under which the backend sees the connection `towards` it; 0: all that were tried are taken. */
__inline_always __u16 relay_port6(struct __sk_buff *skb, struct ct6_key *towards, struct address6 *address)
{
	struct snat6_value *known = cilium_snat_v6_external.lookup(towards);
	struct ct6_key back WORDS = {};
	__u16 port;
	int attempt;

	ct6_reverse(&back, towards);
	back.daddr = *address;
	back.flags = CT_IN;
	if (known && same6(&known->address, address)) {
		back.dport = known->port;
		if (is_mapped_back(&back, towards))
			return back.dport;
	}
	port = swap16(towards->sport); /* the client's own, if it can be had */
	if (port < NAT_PORT_FIRST)
		port = NAT_PORT_FIRST + bpf_get_prandom_u32() % NAT_PORTS;
	for (attempt = 0; attempt < NAT_TRIES; attempt++) {
		back.dport = swap16(port);
		if (claim_port6(skb, towards, &back)) {
			struct snat6_value seen = {};

			seen.created = bpf_ktime_get_ns();
			seen.address = *address;
			seen.port = back.dport;
			cilium_snat_v6_external.update(towards, &seen);
			return back.dport;
		}
		port = NAT_PORT_FIRST + bpf_get_prandom_u32() % NAT_PORTS;
	}
	return 0;
}

#endif
