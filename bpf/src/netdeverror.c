/* SPDX-License-Identifier: Apache-2.0
 *
 * ICMP errors that come in by the underlay: about an answer of a backend, from somebody on the way to
 * its client; or about a packet that this node relayed.
 */
#include "../include/ownprocess.h"

/* Which identity the backend's node is told: one that travels, and no pod's. */
__inline_always __u32 identity_outside(__u32 identity)
{
	return identity < IDENTITY_FIRST_ALLOCATED ? identity : IDENTITY_WORLD;
}

/* Who a client outside is; 0: nobody that may come this way. The node itself does not. */
__inline_always __u32 outside_identity(struct __sk_buff *skb, __u32 client)
{
	__u32 identity = stack_identity(client);

	return identity == IDENTITY_HOST || is_forged(skb, client) ? 0 : identity;
}

/* To the backend, which sent what the error is about: so it learns of a smaller MTU. */
__inline_always int tell_backend(struct __sk_buff *skb, struct packet *packet, struct ct_value *given)
{
	struct ct_key towards = packet->about;
	struct ends outer = {}, quoted = {};
	struct endpoint_value *local;
	struct ipcache_value *remote;
	struct snat_value *seen;
	__u32 identity;
	int reason;

	identity = outside_identity(skb, packet->tuple.saddr);
	if (!identity)
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_INGRESS);
	outer.saddr = packet->tuple.saddr;
	outer.daddr = quoted.saddr = given->nat_addr[NAT_ADDRESS];
	quoted.sport = given->nat_port;
	quoted.daddr = packet->about.daddr;
	quoted.dport = packet->about.dport;
	if (is_own_address(outer.daddr))
		return tell_own_process(skb, packet, &outer, &quoted);
	local = endpoint_of(outer.daddr);
	if (local) {
		reason = translate_error(skb, packet, &outer, &quoted);
		if (!reason)
			reason = admit_ingress(skb, packet, local, identity);
		if (reason)
			return drop(skb, reason, METRIC_INGRESS);
		return deliver(skb, local);
	}
	ct_reverse(&towards, &packet->about);
	towards.daddr = outer.daddr;
	towards.dport = quoted.sport;
	towards.flags = CT_OUT;
	seen = cilium_snat_v4_external.lookup(&towards);
	if (!seen)
		return drop(skb, DROP_NAT_NO_MAPPING, METRIC_INGRESS);
	quoted.daddr = seen->address;
	quoted.dport = seen->port;
	reason = translate_error(skb, packet, &outer, &quoted);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	remote = ipcache_of(outer.daddr);
	if (remote && remote->tunnel[0] && !(remote->flags & IPCACHE_SKIP_TUNNEL))
		return encapsulate(skb, remote->tunnel[0], identity_outside(identity));
	return redirect_to_underlay(skb);
}

__inline_always int handle_error(struct __sk_buff *skb, struct packet *packet)
{
	struct ct_key opened = {};
	struct ct_value *given;

	if (!packet->is_error || packet->about.saddr != packet->tuple.daddr)
		return NOT_OURS;
	ct_reverse(&opened, &packet->about);
	opened.flags = CT_SERVICE;
	given = cilium_ct4_global.lookup(&opened);
	if (given)
		return tell_backend(skb, packet, given);
	if (is_error_to_relay(packet, &opened))
		return tell_client(skb, packet, &opened);
	return NOT_OURS;
}
