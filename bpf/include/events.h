/* SPDX-License-Identifier: Apache-2.0
 *
 * Single packets, told to whoever watches. While nobody does it costs one array look-up.
 */
#ifndef CLUSTERMESH_EVENTS_H
#define CLUSTERMESH_EVENTS_H

#include "eventmaps.h"
#include "policy.h"

__inline_always void begin(struct __sk_buff *skb, __u8 direction)
{
	skb->cb[CB_PEER] = 0;
	skb->cb[CB_ENDPOINT] = 0;
	skb->cb[CB_REASON] = (__u32)direction << 8;
}

__inline_always void event_addresses(struct __sk_buff *skb, struct event *event)
{
	struct ip_header ip;
	__u16 ports[2];
	__u32 l4;

	if (skb->protocol != swap16(ETHERTYPE_IPV4) || bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip)))
		return;
	event->saddr = ip.saddr;
	event->daddr = ip.daddr;
	event->proto = ip.protocol;
	l4 = ETH_HEADER + (ip.version_ihl & 0xf) * 4;
	if ((swap16(ip.fragment) & FRAGMENT_OFFSET) || bpf_skb_load_bytes(skb, l4, ports, sizeof(ports)))
		return;
	event->sport = ip.protocol == PROTO_ICMP ? swap16(ports[0] & 0xff) : ports[0];
	event->dport = ip.protocol == PROTO_ICMP ? 0 : ports[1];
	if (ip.protocol == PROTO_TCP)
		bpf_skb_load_bytes(skb, l4 + 13, &event->tcp_flags, 1);
}

/* The program's verdict, as it came; the packet may have changed its MACs only. */
__inline_always int report(struct __sk_buff *skb, int verdict)
{
	struct event_config_value *config;
	struct event event = {};
	int index = 0;

	config = cilium_event_config.lookup(&index);
	if (!config)
		return verdict;
	if (verdict == SHOT) {
		if (!config->drops)
			return verdict;
	} else {
		__u32 every = config->trace_every;

		if (!every || bpf_get_prandom_u32() % every)
			return verdict;
	}
	event.time = bpf_ktime_get_ns();
	event.peer = skb->cb[CB_PEER];
	event.lxc_id = skb->cb[CB_ENDPOINT];
	event.type = verdict == SHOT ? EVENT_DROP : EVENT_TRACE;
	event.reason = verdict == SHOT ? skb->cb[CB_REASON] & 0xff : FORWARDED;
	event.direction = (skb->cb[CB_REASON] >> 8) & 0xff;
	event.length = skb->len;
	event_addresses(skb, &event);
	cilium_events.ringbuf_output(&event, sizeof(event), 0);
	return verdict;
}

#endif
