/* SPDX-License-Identifier: Apache-2.0
 *
 * Reasons, and their count in cilium_metrics: nothing is dropped in silence.
 * The numbers are Cilium's; bpf/metrics_map.py has the words.
 */
#ifndef CLUSTERMESH_METRICS_H
#define CLUSTERMESH_METRICS_H

#include "maps.h"

#define FORWARDED 0
#define NO_BACKEND_SLOT 5
#define NO_BACKEND 6
#define BIND_REFUSED 100 /* ours: Cilium does not count these */
#define DROP_INVALID_SOURCE_IP 132
#define DROP_POLICY 133
#define DROP_INVALID_PACKET 134
#define DROP_UNKNOWN_L4 137
#define DROP_UNSUPPORTED_L3 139
#define DROP_WRITE_ERROR 141
#define DROP_ICMPV6_TYPE 146
#define DROP_NO_TUNNEL_KEY 147
#define DROP_NO_LOCAL_ENDPOINT 152
#define DROP_INVALID_EXTENSION 156
#define DROP_NO_TUNNEL 160
#define DROP_NO_CONFIG 165
#define DROP_NAT_NO_MAPPING 167
#define DROP_INVALID_IDENTITY 171
#define DROP_FRAGMENT_NOT_FOUND 175
#define DROP_NOT_IN_SOURCE_RANGE 177
#define DROP_POLICY_DENY 181

#define METRIC_INGRESS 1
#define METRIC_EGRESS 2
#define METRIC_SERVICE 3

#define PASS 0 /* TC_ACT_OK */
#define SHOT 2 /* TC_ACT_SHOT */

#define __inline_always static inline __attribute__((always_inline))

__inline_always void count(__u8 reason, __u8 direction, __u64 bytes)
{
	struct metrics_key key = {};
	struct metrics_value *value;

	key.reason = reason;
	key.dir = direction;
	value = cilium_metrics.lookup(&key);
	if (!value) {
		struct metrics_value zero = {};

		cilium_metrics.insert(&key, &zero);
		value = cilium_metrics.lookup(&key);
		if (!value)
			return;
	}
	/* per CPU, and this program does not migrate: no atomics needed */
	value->count += 1;
	value->bytes += bytes;
}

/* What is known of a packet's fate travels in its control block to the one place that
 * reports it (events.h): inlining a report into every branch would be too much code. */
#define CB_PEER 0
#define CB_ENDPOINT 1
#define CB_REASON 2 /* and the direction above it */
#define CB_L4 3 /* of IPv6: where the transport's header is, and above it which one */
#define CB_OPAQUE 4

/* In assembler, as the compiler would keep a pointer to the field for all of them, and the kernel lets
 * nobody write to the context but at a constant distance from its beginning. */
#define put_cb(skb, at, value) \
	asm volatile("*(u32 *)(%0 + %1) = %2" \
		     : \
		     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, cb[at])), "r"((__u32)(value)) \
		     : "memory")

/* The same value. Of what it reads from the context the verifier knows nothing; of what else a branch
 * left in a register it knows all, and would follow each branch's value through all that comes: a tenth
 * of its work is left with this in the right places. */
__inline_always __u32 opaque(struct __sk_buff *skb, __u32 value)
{
	put_cb(skb, CB_OPAQUE, value);
	return skb->cb[CB_OPAQUE];
}

__inline_always int drop(struct __sk_buff *skb, __u8 reason, __u8 direction)
{
	count(reason, direction, skb->len);
	put_cb(skb, CB_REASON, reason | (__u32)direction << 8);
	return SHOT;
}

#endif
