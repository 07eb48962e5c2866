/* SPDX-License-Identifier: Apache-2.0
 *
 * May this packet pass? Replies may; everything else is looked up.
 */
#ifndef CLUSTERMESH_POLICY_H
#define CLUSTERMESH_POLICY_H

#include "conntrack.h"

#define IDENTITY_HOST 1
#define IDENTITY_WORLD 2
#define IDENTITY_FIRST_ALLOCATED 256
#define IDENTITY_WIRE_LIMIT (1 << 24) /* a VNI has 24 bits */

#define NO_ENTRY 0
#define ALLOWED 1
#define DENIED 2

struct question {
	__u32 peer;     /* identity of the other side */
	__u32 source;   /* identity that the connection is booked under */
	__u16 lxc_id;
	__u8 direction; /* DIRECTION_INGRESS, DIRECTION_EGRESS */
	__u8 enforced;
	__u8 ranges; /* there are entries for ranges of ports */
};

__inline_always int policy_entry(struct policy_key *key, __u32 identity, __u8 proto, __u16 port)
{
	struct policy_value *value;

	key->identity = identity;
	key->proto = proto;
	key->dport = port;
	value = cilium_policy.lookup(key);
	if (!value)
		return NO_ENTRY;
	return value->deny ? DENIED : ALLOWED;
}

/* All that one identity (0: any) has on one port, from the most exact entry to the
 * widest. */
__inline_always int policy_of(struct policy_key *key, __u32 identity, __u8 proto, __u16 port, int ranges)
{
	__u16 number = swap16(port);
	int found = 0;

	key->open_bits = 0;
	found |= policy_entry(key, identity, proto, port);
	if (port) {
		found |= policy_entry(key, identity, proto, 0);
		if (ranges) {
			key->open_bits = 4;
			found |= policy_entry(key, identity, proto, swap16(number & 0xfff0));
			key->open_bits = 8;
			found |= policy_entry(key, identity, proto, swap16(number & 0xff00));
			key->open_bits = 12;
			found |= policy_entry(key, identity, proto, swap16(number & 0xf000));
			key->open_bits = 0;
		}
	}
	return found | policy_entry(key, identity, 0, 0);
}

/* All are asked, as a deny of any width beats an allow of any other. */
__inline_always int policy_verdict(struct __sk_buff *skb, struct question *ask, __u8 proto, __u16 port)
{
	struct policy_key key = {};
	int found;

	key.lxc_id = ask->lxc_id;
	key.direction = ask->direction;
	found = opaque(skb, policy_of(&key, ask->peer, proto, port, ask->ranges));
	found = opaque(skb, found | policy_of(&key, 0, proto, port, ask->ranges));
	if (found & DENIED)
		return DROP_POLICY_DENY;
	return found & ALLOWED ? 0 : DROP_POLICY;
}

/* 0, or why the packet must be dropped. Books the connection it opens. */
__inline_always int admit(struct __sk_buff *skb, struct packet *packet, struct question *ask)
{
	__u8 own = ask->direction == DIRECTION_INGRESS ? CT_IN : CT_OUT;
	struct ct_key key;
	int reason;

	skb->cb[CB_PEER] = ask->peer;
	skb->cb[CB_ENDPOINT] = ask->lxc_id;
	if (ct_is_reply(packet, own, skb->len))
		return 0;
	if (ask->enforced) {
		reason = policy_verdict(skb, ask, packet->tuple.nexthdr, packet->policy_port);
		if (reason)
			return reason;
	}
	key = packet->tuple;
	key.flags = own;
	if (!ct_track(&key, packet, skb->len, 0) && packet->opens)
		ct_open(&key, ask->source, skb->len);
	return 0;
}

#endif
