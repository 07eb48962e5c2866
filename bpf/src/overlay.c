/* SPDX-License-Identifier: Apache-2.0
 *
 * The program on the vxlan device.
 */
#include "../include/container6.h"
#include "../include/host.h"
#include "../include/naterror.h"

/* tcx ingress: what other nodes send. The VNI is the sender's identity. */
__inline_always int handle_from_overlay(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct endpoint_value *endpoint;
	struct packet packet = {};
	struct ct_key opened = {};
	int reason;

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return drop(skb, DROP_NO_TUNNEL_KEY, METRIC_INGRESS);
	/* a node writes remote-node on the wire; host would open every policy here */
	if (key.tunnel_id == IDENTITY_HOST)
		return drop(skb, DROP_INVALID_IDENTITY, METRIC_INGRESS);
	if (skb->protocol != swap16(ETHERTYPE_IPV4))
		return drop(skb, DROP_UNSUPPORTED_L3, METRIC_INGRESS);
	reason = parse(skb, &packet);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	endpoint = endpoint_of(packet.tuple.daddr);
	if (!endpoint && is_answer_to_relay(&packet, &opened))
		return answer_client(skb, &packet, &opened);
	if (!endpoint && is_error_to_relay(&packet, &opened))
		return tell_client(skb, &packet, &opened);
	if (!endpoint)
		return admit_to_host(skb, &packet, key.tunnel_id);
	reason = admit_ingress(skb, &packet, endpoint, key.tunnel_id);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	return deliver(skb, endpoint);
}

int cil_from_overlay(struct __sk_buff *skb)
{
	if (skb->protocol == swap16(ETHERTYPE_IPV6))
		return from_overlay6(skb);
	begin(skb, METRIC_INGRESS);
	return report(skb, handle_from_overlay(skb));
}
