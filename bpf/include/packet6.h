/* SPDX-License-Identifier: Apache-2.0
 *
 * As packet.h, for IPv6: the walk over extension headers, and ICMPv6.
 */
#ifndef CLUSTERMESH_PACKET6_H
#define CLUSTERMESH_PACKET6_H

#include "packet.h"

#define IP6_HEADER 40
#define ETHERTYPE_IPV6 0x86dd

#define PROTO_HOP_BY_HOP 0
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_ICMPV6 58
#define PROTO_DESTINATION 60
#define EXTENSIONS 5 /* in one packet; honest senders need two */

#define FRAGMENT6_OFFSET 0xfff8
#define FRAGMENT6_MORE 1

#define ICMPV6_UNREACHABLE 1
#define ICMPV6_PARAMETER_PROBLEM 4 /* and in between: packet too big, time exceeded */
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_ROUTER_SOLICITATION 133
#define ICMPV6_REDIRECT 137 /* and in between: all of neighbour discovery */

struct ip6_header {
	__u32 version_class_flow;
	__u16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	struct address6 saddr;
	struct address6 daddr;
};

/* A key is packed, so the compiler takes it byte by byte unless told where it lies. */
#define WORDS __attribute__((aligned(8)))

struct packet6 {
	struct ct6_key tuple WORDS;
	struct ct6_key about WORDS; /* the tuple that an ICMPv6 error quotes */
	__u16 policy_port;    /* BE; see ICMP_TYPES */
	__u16 l4;             /* offset; 0 in a later fragment */
	__u16 about_l4;       /* where the quoted ports are */
	__u8 tcp_flags;
	__u8 opens;    /* a packet in mid-stream opens no connection */
	__u8 is_error; /* `about` is filled in */
	__u8 icmp_type;
	__u8 hop_limit;
};

struct chain {
	__u32 offset; /* of the header that `next` is */
	__u32 id;     /* BE; of a fragment */
	__u16 fragment; /* offset and flag; 0 for what is whole */
	__u8 next;
	__u8 fragmented; /* what the fragment header said was next: the same in all of a datagram's */
};

__inline_always int same6(struct address6 *one, struct address6 *other)
{
	return one->words[0] == other->words[0] && one->words[1] == other->words[1] &&
	       one->words[2] == other->words[2] && one->words[3] == other->words[3];
}

__inline_always int is_link_local(struct address6 *address)
{
	return (address->words[0] & swap32(0xffc00000)) == swap32(0xfe800000);
}

/* Multicast that no router forwards. */
__inline_always int is_link_multicast(struct address6 *address)
{
	__u32 head = address->words[0] & swap32(0xff0f0000);

	return head == swap32(0xff010000) || head == swap32(0xff020000);
}

__inline_always int is_neighbour_discovery(struct packet6 *packet)
{
	return packet->icmp_type >= ICMPV6_ROUTER_SOLICITATION && packet->icmp_type <= ICMPV6_REDIRECT;
}

/* To the transport's header, or to what a later fragment has in its place. */
__inline_always int walk(struct __sk_buff *skb, struct chain *chain)
{
	__u8 head[8];
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i <= EXTENSIONS; i++) {
		if (chain->next == PROTO_FRAGMENT) {
			if (bpf_skb_load_bytes(skb, chain->offset, head, 8))
				return DROP_INVALID_PACKET;
			chain->fragment = (head[2] << 8 | head[3]) & (FRAGMENT6_OFFSET | FRAGMENT6_MORE);
			__builtin_memcpy(&chain->id, head + 4, 4);
			chain->fragmented = chain->next = head[0];
			chain->offset += 8;
			if (chain->fragment & FRAGMENT6_OFFSET)
				return 0;
		} else if (chain->next == PROTO_HOP_BY_HOP || chain->next == PROTO_ROUTING ||
			   chain->next == PROTO_DESTINATION) {
			if (bpf_skb_load_bytes(skb, chain->offset, head, 2))
				return DROP_INVALID_PACKET;
			chain->next = head[0];
			chain->offset += (head[1] + 1) * 8;
		} else {
			return 0;
		}
	}
	return DROP_INVALID_EXTENSION;
}

__inline_always void icmp6_ports(struct ct6_key *tuple, __u8 type, __u16 id)
{
	tuple->sport = type == ICMPV6_ECHO_REQUEST ? id : 0;
	tuple->dport = type == ICMPV6_ECHO_REPLY ? id : 0;
}

/* Only a datagram's first fragment has its ports, also where an error quotes a later one: a sender's every
 * fragment that is too big for the way is told of. */
__inline_always int quoted_later(struct chain *chain, struct ct6_key *about)
{
	struct frag6_key datagram = {};
	struct frag_value *known;

	datagram.id = chain->id;
	datagram.proto = chain->fragmented;
	datagram.saddr = about->saddr;
	datagram.daddr = about->daddr;
	known = cilium_ipv6_frag_datagrams.lookup(&datagram);
	if (!known)
		return 0;
	about->sport = known->sport;
	about->dport = known->dport;
	return 1;
}

/* What an ICMPv6 error quotes: as much of a packet as had room. */
__inline_always int parse_quoted6(struct __sk_buff *skb, __u32 offset, struct packet6 *packet)
{
	struct ct6_key *about = &packet->about;
	struct chain chain = {};
	struct ip6_header ip;
	__u16 words[4];

	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)))
		return 0;
	chain.offset = offset + IP6_HEADER;
	chain.next = ip.next_header;
	if (walk(skb, &chain))
		return 0;
	packet->about_l4 = chain.offset;
	about->saddr = ip.saddr;
	about->daddr = ip.daddr;
	about->nexthdr = chain.next;
	if (chain.fragment & FRAGMENT6_OFFSET)
		return quoted_later(&chain, about);
	if (bpf_skb_load_bytes(skb, chain.offset, words, sizeof(words)))
		return 0;
	if (chain.next == PROTO_ICMPV6) {
		icmp6_ports(about, words[0] & 0xff, words[2]);
	} else {
		about->sport = words[0];
		about->dport = words[1];
	}
	return 1;
}

__inline_always int parse6_l4(struct __sk_buff *skb, __u32 l4, struct packet6 *packet)
{
	struct ct6_key *tuple = &packet->tuple;
	__u16 words[4];

	if (bpf_skb_load_bytes(skb, l4, words, sizeof(words)))
		return DROP_INVALID_PACKET;
	packet->l4 = l4;
	if (tuple->nexthdr == PROTO_ICMPV6) {
		__u8 type = words[0] & 0xff;

		packet->icmp_type = type;
		icmp6_ports(tuple, type, words[2]);
		packet->policy_port = swap16(ICMP_TYPES + type);
		packet->opens = type == ICMPV6_ECHO_REQUEST;
		if (type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM)
			packet->is_error = parse_quoted6(skb, l4 + 8, packet);
		return 0;
	}
	tuple->sport = words[0];
	tuple->dport = words[1];
	packet->policy_port = words[1];
	packet->opens = 1;
	if (tuple->nexthdr == PROTO_TCP) {
		if (bpf_skb_load_bytes(skb, l4 + 13, &packet->tcp_flags, 1))
			return DROP_INVALID_PACKET;
		packet->opens = (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
	}
	return 0;
}

/* Only a datagram's first fragment has its ports. */
__inline_always int parse6_later(struct frag6_key *datagram, struct packet6 *packet)
{
	struct frag_value *known = cilium_ipv6_frag_datagrams.lookup(datagram);

	if (!known)
		return DROP_FRAGMENT_NOT_FOUND;
	packet->tuple.sport = known->sport;
	packet->tuple.dport = known->dport;
	packet->policy_port = packet->tuple.nexthdr == PROTO_ICMPV6 ?
				      swap16(ICMP_TYPES + ICMPV6_ECHO_REQUEST) :
				      packet->tuple.dport;
	return 0;
}

__inline_always int parse6_all(struct __sk_buff *skb, struct packet6 *packet)
{
	struct frag6_key datagram = {};
	struct frag_value ports = {};
	struct chain chain = {};
	struct ip6_header ip;
	int reason;

	if (bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip)))
		return DROP_INVALID_PACKET;
	if ((ip.version_class_flow & swap32(0xf0000000)) != swap32(0x60000000))
		return DROP_INVALID_PACKET;
	packet->tuple.saddr = ip.saddr;
	packet->tuple.daddr = ip.daddr;
	packet->hop_limit = ip.hop_limit;
	chain.offset = ETH_HEADER + IP6_HEADER;
	chain.next = ip.next_header;
	reason = walk(skb, &chain);
	if (reason)
		return reason;
	packet->tuple.nexthdr = chain.next;
	skb->cb[CB_L4] = chain.offset | (__u32)chain.next << 16;
	if (chain.next != PROTO_TCP && chain.next != PROTO_UDP && chain.next != PROTO_ICMPV6 &&
	    chain.next != PROTO_SCTP)
		return DROP_UNKNOWN_L4;
	datagram.id = chain.id;
	datagram.proto = chain.fragmented;
	datagram.saddr = ip.saddr;
	datagram.daddr = ip.daddr;
	if (chain.fragment & FRAGMENT6_OFFSET)
		return parse6_later(&datagram, packet);
	reason = parse6_l4(skb, chain.offset, packet);
	if (reason || !chain.fragment)
		return reason;
	ports.sport = packet->tuple.sport;
	ports.dport = packet->tuple.dport;
	cilium_ipv6_frag_datagrams.update(&datagram, &ports);
	return 0;
}

/* 0, or why the packet must be dropped. `packet` is zeroed by the caller. */
__inline_always int parse6(struct __sk_buff *skb, struct packet6 *packet)
{
	int reason = parse6_all(skb, packet);
	__u32 kind = packet->tuple.nexthdr | packet->opens << 8 | packet->is_error << 16 |
		     (__u32)packet->tcp_flags << 24;

	kind = opaque(skb, kind);
	packet->tuple.nexthdr = kind;
	packet->opens = kind >> 8;
	packet->is_error = kind >> 16;
	packet->tcp_flags = kind >> 24;
	return reason;
}

#endif
