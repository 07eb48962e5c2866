/* SPDX-License-Identifier: Apache-2.0
 *
 * As naterror.h, for errors of ICMPv6. Its checksum is over everything: both headers' addresses too.
 */
#ifndef CLUSTERMESH_NATERROR6_H
#define CLUSTERMESH_NATERROR6_H

#include "nat6.h"

/* An address or port of the quoted packet, which is only payload. */
__inline_always int replace_quoted6(struct __sk_buff *skb, __u32 ip, __u32 field, __u32 checksum,
				    struct address6 *old, struct address6 *new)
{
	__s64 change;

	if (same6(old, new))
		return 0;
	change = bpf_csum_diff((__be32 *)old, sizeof(*old), (__be32 *)new, sizeof(*new), 0);
	if (bpf_l4_csum_replace(skb, checksum, 0, change, 0))
		return -1;
	return bpf_skb_store_bytes(skb, ip + field, new, sizeof(*new), 0) ? -1 : 0;
}

/* The error, and the packet that it quotes, get these ends. */
__inline_always int translate_error6(struct __sk_buff *skb, struct packet6 *packet, struct ends6 *outer,
				     struct ends6 *quoted)
{
	struct ct6_key *about = &packet->about;
	__u32 icmp = packet->l4;
	__u32 checksum = icmp + ICMP_CHECKSUM, inner = icmp + ICMP_HEADER, ports = packet->about_l4;

	if (replace_address6(skb, ETH_HEADER, IP6_SOURCE, checksum, &packet->tuple.saddr, &outer->saddr, 0) ||
	    replace_address6(skb, ETH_HEADER, IP6_DESTINATION, checksum, &packet->tuple.daddr, &outer->daddr, 0) ||
	    replace_quoted6(skb, inner, IP6_SOURCE, checksum, &about->saddr, &quoted->saddr) ||
	    replace_quoted6(skb, inner, IP6_DESTINATION, checksum, &about->daddr, &quoted->daddr) ||
	    replace_port(skb, ports, checksum, about->sport, quoted->sport, 0) ||
	    replace_port(skb, ports + 2, checksum, about->dport, quoted->dport, 0))
		return DROP_WRITE_ERROR;
	packet->tuple.saddr = outer->saddr;
	packet->tuple.daddr = outer->daddr;
	about->saddr = quoted->saddr;
	about->daddr = quoted->daddr;
	about->sport = quoted->sport;
	about->dport = quoted->dport;
	return 0;
}

/* A pod of this node, or what is before it, refuses a packet that a client outside sent. */
__inline_always int is_error_of_pod6(struct packet6 *packet, struct ct6_key *opened)
{
	if (!packet->is_error)
		return 0;
	*opened = packet->about;
	opened->flags = CT_SERVICE | CT_IN;
	return cilium_ct6_global.lookup(opened) != 0;
}

/* Somebody on the way to another node's pod refuses a packet that this node relayed. */
__inline_always int is_error_to_relay6(struct packet6 *packet, struct ct6_key *opened)
{
	struct ct6_key back WORDS = {};
	struct snat6_value *client;

	if (!packet->is_error || !same6(&packet->about.saddr, &packet->tuple.daddr))
		return 0;
	ct6_reverse(&back, &packet->about);
	back.flags = CT_IN;
	client = cilium_snat_v6_external.lookup(&back);
	if (!client)
		return 0;
	*opened = packet->about;
	opened->saddr = client->address;
	opened->sport = client->port;
	opened->flags = CT_SERVICE | CT_IN;
	return 1;
}

/* The client is told of its own packet; the backend's word comes from where the client believes it. */
__inline_always int tell_client6(struct __sk_buff *skb, struct packet6 *packet, struct ct6_key *opened)
{
	struct ct_value *value = cilium_ct6_global.lookup(opened);
	struct ends6 outer = {}, quoted = {};
	__u32 device;
	int reason;

	if (!value)
		return drop(skb, DROP_NAT_NO_MAPPING, METRIC_EGRESS);
	quoted.saddr = outer.daddr = opened->saddr;
	quoted.sport = opened->sport;
	__builtin_memcpy(&quoted.daddr, value->nat_addr, sizeof(quoted.daddr));
	quoted.dport = value->nat_port;
	outer.saddr = same6(&packet->tuple.saddr, &packet->about.daddr) ? quoted.daddr : packet->tuple.saddr;
	device = value->nat6_other;
	reason = translate_error6(skb, packet, &outer, &quoted);
	if (reason)
		return drop(skb, reason, METRIC_EGRESS);
	count(FORWARDED, METRIC_EGRESS, skb->len);
	return redirect_to_neighbour(device, 0, 0, 0);
}

#endif
