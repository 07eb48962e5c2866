/* SPDX-License-Identifier: Apache-2.0
 *
 * As netdeverror.c, for errors of ICMPv6; and what a packet for a backend goes through in the end.
 */
#ifndef CLUSTERMESH_NETDEVERROR6_H
#define CLUSTERMESH_NETDEVERROR6_H

#include "ownprocess6.h"
#include "relay6.h"

/* As outside_identity. The node's own address need not be in the ipcache: with the tunnel nobody is told it. */
__inline_always __u32 outside6_identity(struct __sk_buff *skb, struct address6 *client)
{
	__u32 identity = stack6_identity(client);

	if (identity == IDENTITY_HOST || is_own_address6(client) || is_forged6(skb, client))
		return 0;
	return identity;
}

/* To the backend, which is on this node if it is `local`; unless there is a `reason` not to. */
__inline_always int hand_over6(struct __sk_buff *skb, struct packet6 *packet, struct endpoint_value *local,
			       struct ipcache_value *remote, __u32 identity, int reason)
{
	if (!reason && local)
		reason = admit6_ingress(skb, packet, local, identity);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	return local ? deliver(skb, local) : send_to_backend6(skb, remote, identity);
}

/* To the backend, which sent what the error is about: so it learns of a smaller MTU. */
__inline_always int tell_backend6(struct __sk_buff *skb, struct packet6 *packet, struct ct_value *given)
{
	struct ends6 outer = {}, quoted = {};
	struct endpoint_value *local;
	__u32 identity;
	int is_own, reason;

	identity = outside6_identity(skb, &packet->tuple.saddr);
	if (!identity)
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_INGRESS);
	outer.saddr = packet->tuple.saddr;
	__builtin_memcpy(&outer.daddr, given->nat_addr, sizeof(outer.daddr));
	quoted.saddr = outer.daddr;
	quoted.sport = given->nat_port;
	quoted.daddr = packet->about.daddr;
	quoted.dport = packet->about.dport;
	is_own = is_own_address6(&outer.daddr);
	local = endpoint6_of(&outer.daddr);
	if (!local && !is_own) {
		struct ct6_key towards WORDS = {};
		struct snat6_value *seen;

		ct6_reverse(&towards, &packet->about);
		towards.daddr = outer.daddr;
		towards.dport = quoted.sport;
		towards.flags = CT_OUT;
		seen = cilium_snat_v6_external.lookup(&towards);
		if (!seen)
			return drop(skb, DROP_NAT_NO_MAPPING, METRIC_INGRESS);
		quoted.daddr = seen->address;
		quoted.dport = seen->port;
	}
	reason = translate_error6(skb, packet, &outer, &quoted);
	if (is_own)
		return to_own_process6(skb, reason);
	return hand_over6(skb, packet, local, local ? 0 : ipcache6_of(&outer.daddr), identity, reason);
}

__inline_always int handle_error6(struct __sk_buff *skb, struct packet6 *packet)
{
	struct ct6_key opened WORDS = {};
	struct ct_value *given;

	if (!packet->is_error || !same6(&packet->about.saddr, &packet->tuple.daddr))
		return NOT_OURS;
	ct6_reverse(&opened, &packet->about);
	opened.flags = CT_SERVICE;
	given = cilium_ct6_global.lookup(&opened);
	if (given)
		return tell_backend6(skb, packet, given);
	if (is_error_to_relay6(packet, &opened))
		return tell_client6(skb, packet, &opened);
	return NOT_OURS;
}

#endif
