/* SPDX-License-Identifier: Apache-2.0
 *
 * As events.h, for packets of IPv6.
 */
#ifndef CLUSTERMESH_EVENTS6_H
#define CLUSTERMESH_EVENTS6_H

#include "endpoint6.h"

#define IGNORED 0x100 /* our own verdict: dropped, but neither counted nor told */

__inline_always void begin6(struct __sk_buff *skb, __u8 direction)
{
	begin(skb, direction);
	skb->cb[CB_L4] = 0;
}

/* Where parsing stopped short, only the addresses. */
__inline_always void event6_addresses(struct __sk_buff *skb, struct event6 *event)
{
	__u32 l4 = skb->cb[CB_L4] & 0xffff;
	struct ip6_header ip;
	__u16 ports[2];

	if (bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip)))
		return;
	event->saddr = ip.saddr;
	event->daddr = ip.daddr;
	event->proto = skb->cb[CB_L4] >> 16;
	if (!l4 || bpf_skb_load_bytes(skb, l4, ports, sizeof(ports)))
		return;
	event->sport = event->proto == PROTO_ICMPV6 ? swap16(ports[0] & 0xff) : ports[0];
	event->dport = event->proto == PROTO_ICMPV6 ? 0 : ports[1];
	if (event->proto == PROTO_TCP)
		bpf_skb_load_bytes(skb, l4 + 13, &event->tcp_flags, 1);
}

/* The program's verdict, as it came; the packet may have changed its MACs only. */
__inline_always int report6(struct __sk_buff *skb, int verdict)
{
	struct event_config_value *config;
	struct event6 event = {};
	int index = 0;

	if (verdict == IGNORED)
		return SHOT;
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
	event6_addresses(skb, &event);
	cilium_events.ringbuf_output(&event, sizeof(event), 0);
	return verdict;
}

#endif
