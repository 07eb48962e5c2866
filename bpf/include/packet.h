/* SPDX-License-Identifier: Apache-2.0
 *
 * From bytes to a tuple. IPv4 with TCP, UDP, SCTP and ICMP; fragments take the ports
 * of their first fragment; an ICMP error carries the tuple that it is about.
 */
#ifndef CLUSTERMESH_PACKET_H
#define CLUSTERMESH_PACKET_H

#include "metrics.h"

#define ETH_HEADER 14
#define IP_HEADER 20
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_SCTP 132

#define FRAGMENT_MORE 0x2000
#define FRAGMENT_OFFSET 0x1fff

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO_REQUEST 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP_TYPES 256 /* policy has "port" 256 + type, to tell type 0 from "any" */

#define swap16(x) ((__u16)__builtin_bswap16(x))
#define swap32(x) __builtin_bswap32(x)

struct ip_header {
	__u8 version_ihl;
	__u8 tos;
	__u16 total_length;
	__u16 id;
	__u16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__u32 saddr;
	__u32 daddr;
};

struct packet {
	struct ct_key tuple;
	struct ct_key about; /* the tuple that an ICMP error quotes */
	__u16 policy_port;   /* BE; see ICMP_TYPES */
	__u8 tcp_flags;
	__u8 opens;    /* a packet in mid-stream opens no connection */
	__u8 asks;     /* ICMP that is neither an error nor an echo's reply answers nothing */
	__u8 is_error; /* `about` is filled in */
};

__inline_always int icmp_is_error(__u8 type)
{
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
}

/* Echo identifiers stand where ports do, on the side that asked. */
__inline_always void icmp_ports(struct ct_key *tuple, __u8 type, __u16 id)
{
	tuple->sport = type == ICMP_ECHO_REQUEST ? id : 0;
	tuple->dport = type == ICMP_ECHO_REPLY ? id : 0;
}

/* What an ICMP error quotes: an IP header and at least eight bytes. */
__inline_always int parse_quoted(struct __sk_buff *skb, __u32 offset, struct ct_key *about)
{
	struct ip_header ip;
	__u16 ports[4];
	__u32 l4;

	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)))
		return 0;
	l4 = (ip.version_ihl & 0xf) * 4;
	if (l4 < IP_HEADER || (swap16(ip.fragment) & FRAGMENT_OFFSET))
		return 0;
	if (bpf_skb_load_bytes(skb, offset + l4, ports, sizeof(ports)))
		return 0;
	about->saddr = ip.saddr;
	about->daddr = ip.daddr;
	about->nexthdr = ip.protocol;
	if (ip.protocol == PROTO_ICMP) {
		icmp_ports(about, ports[0] & 0xff, ports[2]);
	} else {
		about->sport = ports[0];
		about->dport = ports[1];
	}
	return 1;
}

__inline_always int parse_l4(struct __sk_buff *skb, __u32 l4, struct packet *packet)
{
	struct ct_key *tuple = &packet->tuple;
	__u16 words[4];

	if (bpf_skb_load_bytes(skb, l4, words, sizeof(words)))
		return DROP_INVALID_PACKET;
	if (tuple->nexthdr == PROTO_ICMP) {
		__u8 type = words[0] & 0xff;

		icmp_ports(tuple, type, words[2]);
		packet->policy_port = swap16(ICMP_TYPES + type);
		packet->opens = type == ICMP_ECHO_REQUEST;
		packet->asks = type != ICMP_ECHO_REPLY;
		if (icmp_is_error(type))
			packet->is_error = parse_quoted(skb, l4 + 8, &packet->about);
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

/* 0, or why the packet must be dropped. `packet` is zeroed by the caller. */
__inline_always int parse(struct __sk_buff *skb, struct packet *packet)
{
	struct frag_key datagram = {};
	struct ip_header ip;
	__u16 fragment;
	__u32 length;
	int reason;

	if (bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip)))
		return DROP_INVALID_PACKET;
	length = (ip.version_ihl & 0xf) * 4;
	if ((ip.version_ihl >> 4) != 4 || length < IP_HEADER)
		return DROP_INVALID_PACKET;
	packet->tuple.saddr = ip.saddr;
	packet->tuple.daddr = ip.daddr;
	packet->tuple.nexthdr = ip.protocol;
	if (ip.protocol != PROTO_TCP && ip.protocol != PROTO_UDP && ip.protocol != PROTO_ICMP &&
	    ip.protocol != PROTO_SCTP)
		return DROP_UNKNOWN_L4;

	fragment = swap16(ip.fragment);
	if (!(fragment & (FRAGMENT_MORE | FRAGMENT_OFFSET)))
		return parse_l4(skb, ETH_HEADER + length, packet);

	datagram.saddr = ip.saddr;
	datagram.daddr = ip.daddr;
	datagram.id = ip.id;
	datagram.proto = ip.protocol;
	if (fragment & FRAGMENT_OFFSET) {
		struct frag_value *ports = cilium_ipv4_frag_datagrams.lookup(&datagram);

		if (!ports)
			return DROP_FRAGMENT_NOT_FOUND;
		packet->tuple.sport = ports->sport;
		packet->tuple.dport = ports->dport;
	} else {
		struct frag_value ports = {};

		reason = parse_l4(skb, ETH_HEADER + length, packet);
		if (reason)
			return reason;
		ports.sport = packet->tuple.sport;
		ports.dport = packet->tuple.dport;
		cilium_ipv4_frag_datagrams.update(&datagram, &ports);
	}
	/* errors are never in fragments, and answers need no policy: it is a question */
	packet->policy_port =
		ip.protocol == PROTO_ICMP ? swap16(ICMP_TYPES + ICMP_ECHO_REQUEST) : packet->tuple.dport;
	return 0;
}

#endif
