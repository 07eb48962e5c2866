/* SPDX-License-Identifier: Apache-2.0
 *
 * Address translation of node ports: other addresses in a packet, a port of the node for a
 * connection that it relays, and what is known of either direction.
 *
 * A connection from outside has, in cilium_ct4_global,
 *   CT_SERVICE             client -> node:port      the backend that it was given
 *   CT_SERVICE | CT_IN     client -> backend        what the client believes that it talks to
 * and, if its backend is not on this node, in cilium_snat_v4_external
 *   CT_OUT                 client -> backend        the address and port that the backend sees
 *   CT_IN                  backend -> that address  the client
 * The second one decides whether the connection lives: both directions keep it.
 */
#ifndef CLUSTERMESH_NAT_H
#define CLUSTERMESH_NAT_H

#include "natmaps.h"
#include "nodeport.h"

#define NAT_PORT_FIRST 32768 /* above the node ports, as in Cilium */
#define NAT_PORTS 32768
#define NAT_TRIES 32

#define CT_SERVICE 4

#define NOT_OURS -1 /* the verdict of what is for no service: it passes, untold */

#define IP_CHECKSUM 10
#define IP_SOURCE 12
#define IP_DESTINATION 16
#define TCP_CHECKSUM 16
#define UDP_CHECKSUM 6

/* Fields of ct_value.nat_addr. */
#define NAT_ADDRESS 0 /* BE: the backend, or what the client believes */
#define NAT_DEVICE 1  /* where the client's packets come in */
#define NAT_BACKEND 2 /* the backend's id */

/* BCC's prototype lacks an argument. */
static long (*redirect_to_neighbour)(__u32 ifindex, void *next, int size, __u64 flags) = (void *)152;

struct ends {
	__u32 saddr; /* all BE */
	__u32 daddr;
	__u16 sport;
	__u16 dport;
};

/* `ip`: where the header begins; `l4_checksum`: 0 if there is none to be changed. */
__inline_always int replace_address(struct __sk_buff *skb, __u32 ip, __u32 field, __u32 l4_checksum, __u32 old,
				    __u32 new, __u64 flags)
{
	if (old == new)
		return 0;
	if (l4_checksum && bpf_l4_csum_replace(skb, l4_checksum, old, new, BPF_F_PSEUDO_HDR | flags | 4))
		return -1;
	if (bpf_l3_csum_replace(skb, ip + IP_CHECKSUM, old, new, 4))
		return -1;
	return bpf_skb_store_bytes(skb, ip + field, &new, 4, 0) ? -1 : 0;
}

__inline_always int replace_port(struct __sk_buff *skb, __u32 field, __u32 l4_checksum, __u16 old, __u16 new,
				 __u64 flags)
{
	if (old == new)
		return 0;
	if (bpf_l4_csum_replace(skb, l4_checksum, old, new, flags | 2))
		return -1;
	return bpf_skb_store_bytes(skb, field, &new, 2, 0) ? -1 : 0;
}

/* The packet, of TCP or UDP, gets these ends. A later fragment has no ports to be changed. */
__inline_always int translate_packet(struct __sk_buff *skb, struct packet *packet, struct ends *to)
{
	__u64 flags = packet->tuple.nexthdr == PROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	struct ip_header ip;
	__u32 l4, checksum = 0;

	if (bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip)))
		return DROP_INVALID_PACKET;
	l4 = ETH_HEADER + (ip.version_ihl & 0xf) * 4;
	if (!(swap16(ip.fragment) & FRAGMENT_OFFSET))
		checksum = l4 + (packet->tuple.nexthdr == PROTO_UDP ? UDP_CHECKSUM : TCP_CHECKSUM);
	if (replace_address(skb, ETH_HEADER, IP_SOURCE, checksum, ip.saddr, to->saddr, flags) ||
	    replace_address(skb, ETH_HEADER, IP_DESTINATION, checksum, ip.daddr, to->daddr, flags))
		return DROP_WRITE_ERROR;
	if (checksum && (replace_port(skb, l4, checksum, packet->tuple.sport, to->sport, flags) ||
			 replace_port(skb, l4 + 2, checksum, packet->tuple.dport, to->dport, flags)))
		return DROP_WRITE_ERROR;
	packet->tuple.saddr = to->saddr;
	packet->tuple.daddr = to->daddr;
	packet->tuple.sport = to->sport;
	packet->tuple.dport = to->dport;
	packet->policy_port = to->dport;
	return 0;
}

/* The address that backends of other nodes see. Behind the tunnel it is the node's address among
 * the pods, so that their answers come through the tunnel too: no network between the nodes need
 * know a pod's address. */
__inline_always __u32 relay_address(struct ipcache_value *remote)
{
	struct nodeport_config_value *config;
	struct node_config_value *node = node_config();
	int index = 0;

	config = cilium_nodeport_config.lookup(&index);
	if (remote && remote->tunnel[0] && !(remote->flags & IPCACHE_SKIP_TUNNEL) && config && config->tunnel_source)
		return config->tunnel_source;
	return node ? node->node_ip : 0;
}

/* Towards a backend that is reached by the network between the nodes. */
__inline_always int redirect_to_underlay(struct __sk_buff *skb)
{
	struct nodeport_config_value *config;
	int index = 0;

	config = cilium_nodeport_config.lookup(&index);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return redirect_to_neighbour(config && config->device ? config->device : skb->ifindex, 0, 0, 0);
}

/* Is the connection from `client` to `backend`, as a packet of that direction has it, still known? */
__inline_always int relay_lives(struct ct_key *towards)
{
	struct ct_key key = *towards;

	key.flags = CT_SERVICE | CT_IN;
	return ct_exists(&key);
}

/* Does a socket of the node itself have this port towards the backend? */
__inline_always int is_own_socket(struct __sk_buff *skb, struct ct_key *back)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *found;

	tuple.ipv4.saddr = back->saddr; /* as in a packet that comes in */
	tuple.ipv4.daddr = back->daddr;
	tuple.ipv4.sport = back->sport;
	tuple.ipv4.dport = back->dport;
	if (back->nexthdr == PROTO_TCP)
		found = bpf_sk_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	else
		found = bpf_sk_lookup_udp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!found)
		return 0;
	bpf_sk_release(found);
	return 1;
}

/* Take the port in `back` for this connection, unless a living one has it. */
__inline_always int claim_port(struct __sk_buff *skb, struct ct_key *towards, struct ct_key *back)
{
	struct snat_value client = {}, *other;
	struct ct_key others = {};

	other = cilium_snat_v4_external.lookup(back);
	if (other) {
		ct_reverse(&others, back);
		others.saddr = other->address;
		others.sport = other->port;
		if (relay_lives(&others))
			return 0;
		cilium_snat_v4_external.delete(back);
	}
	if (is_own_socket(skb, back))
		return 0;
	client.created = bpf_ktime_get_ns();
	client.address = towards->saddr;
	client.port = towards->sport;
	return !cilium_snat_v4_external.insert(back, &client);
}

/* The port under which the backend sees the connection `towards` it; 0: all that were tried are taken. */
__inline_always __u16 relay_port(struct __sk_buff *skb, struct ct_key *towards, __u32 address)
{
	struct snat_value seen = {}, *known;
	struct ct_key back = {};
	__u16 port;
	int attempt;

	known = cilium_snat_v4_external.lookup(towards);
	ct_reverse(&back, towards);
	back.daddr = address;
	back.flags = CT_IN;
	if (known && known->address == address) {
		struct snat_value *client;

		back.dport = known->port;
		client = cilium_snat_v4_external.lookup(&back);
		if (client && client->address == towards->saddr && client->port == towards->sport)
			return known->port;
	}
	port = swap16(towards->sport); /* the client's own, if it can be had */
	if (port < NAT_PORT_FIRST)
		port = NAT_PORT_FIRST + bpf_get_prandom_u32() % NAT_PORTS;
	for (attempt = 0; attempt < NAT_TRIES; attempt++) {
		back.dport = swap16(port);
		if (claim_port(skb, towards, &back)) {
			seen.created = bpf_ktime_get_ns();
			seen.address = address;
			seen.port = back.dport;
			cilium_snat_v4_external.update(towards, &seen);
			return back.dport;
		}
		port = NAT_PORT_FIRST + bpf_get_prandom_u32() % NAT_PORTS;
	}
	return 0;
}

/* A backend's answer, `packet` from it to its client: the client is told what it believes, and gets it
 * by the device that it came by. */
__inline_always int answer_client(struct __sk_buff *skb, struct packet *packet, struct ct_key *opened)
{
	struct ct_value *value = cilium_ct4_global.lookup(opened);
	struct ends to = {};
	__u32 device;
	int reason;

	if (!value)
		return drop(skb, DROP_NAT_NO_MAPPING, METRIC_EGRESS);
	to.saddr = value->nat_addr[NAT_ADDRESS];
	to.sport = value->nat_port;
	to.daddr = opened->saddr;
	to.dport = opened->sport;
	device = value->nat_addr[NAT_DEVICE];
	ct_track(opened, packet, skb->len, 1);
	reason = translate_packet(skb, packet, &to);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return redirect_to_neighbour(device, 0, 0, 0);
}

/* An answer of a pod of this node to a client that has its own address towards the pod. Is it one? */
__inline_always int is_answer_of_pod(struct packet *packet, struct ct_key *opened)
{
	if (packet->tuple.nexthdr != PROTO_TCP && packet->tuple.nexthdr != PROTO_UDP)
		return 0;
	ct_reverse(opened, &packet->tuple);
	opened->flags = CT_SERVICE | CT_IN;
	return cilium_ct4_global.lookup(opened) != 0;
}

/* An answer to the address and port of this node that a backend sees. Is it one? */
__inline_always int is_answer_to_relay(struct packet *packet, struct ct_key *opened)
{
	struct snat_value *client;
	struct ct_key key = {};

	if (packet->tuple.nexthdr != PROTO_TCP && packet->tuple.nexthdr != PROTO_UDP)
		return 0;
	if (swap16(packet->tuple.dport) < NAT_PORT_FIRST)
		return 0;
	key = packet->tuple;
	key.flags = CT_IN;
	client = cilium_snat_v4_external.lookup(&key);
	if (!client)
		return 0;
	ct_reverse(opened, &packet->tuple);
	opened->saddr = client->address;
	opened->sport = client->port;
	opened->flags = CT_SERVICE | CT_IN;
	return 1;
}

#endif
