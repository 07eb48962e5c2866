/* SPDX-License-Identifier: Apache-2.0
 *
 * The program on the device that has the node's address: services for clients from outside, at node
 * ports, external addresses and those of load balancers.
 *
 * A backend of this node gets the client's own address; towards any other the node stands for the
 * client, and its answer comes back here. What is for no such service passes, unjudged.
 */
#include "../include/maglev.h"
#include "../include/netdev6.h"
#include "../include/ownprocess.h"

__inline_always struct lb4_backend_value *choose_by_hash(struct lb4_service_key *key, struct ct_key *tuple,
							 struct lb4_service_value *service, __u32 *id)
{
	struct lb4_backend_value *backend = 0;

	*id = maglev_choice(service->rev_nat_index, tuple);
	if (*id)
		backend = backend_of(*id);
	return backend ? backend : choose_now(key, service, id);
}

/* What the service chooses for a client from outside. Affinity is by the client's address here. */
__inline_always struct lb4_backend_value *choose_outside(struct lb4_service_key *key, struct ct_key *tuple,
							 struct lb4_service_value *service, __u32 *id)
{
	struct lb4_affinity_key client = {};

	if (!(service->flags & SERVICE_SESSION_AFFINITY))
		return choose_by_hash(key, tuple, service, id);
	client.client = tuple->saddr;
	client.rev_nat_id = service->rev_nat_index;
	return choose_for(&client, key, service, id);
}

/* The backend of a connection that is known. An established one keeps it even if the service has lost it. */
__inline_always int chosen_before(struct packet *packet, struct ct_key *asked, struct ends *to)
{
	struct ct_value *value = cilium_ct4_global.lookup(asked);
	struct ct_key towards = {};

	if (!value || value->lifetime < now_seconds())
		return 0;
	towards = packet->tuple;
	towards.daddr = value->nat_addr[NAT_ADDRESS];
	towards.dport = value->nat_port;
	towards.flags = CT_SERVICE | CT_IN;
	if (packet->tuple.nexthdr != PROTO_TCP || packet->opens) {
		struct ct_value *relay = cilium_ct4_global.lookup(&towards);

		if (!backend_of(value->nat_addr[NAT_BACKEND]))
			return 0;
		if (packet->opens && (!relay || relay->lifetime < now_seconds() ||
				      (relay->flags & (CT_RX_CLOSING | CT_TX_CLOSING))))
			return 0; /* no SYN again: the client uses its port anew */
	}
	to->daddr = towards.daddr;
	to->dport = towards.dport;
	return 1;
}

__inline_always void remember(struct ct_key *key, __u32 address, __u16 port, __u32 other, __u32 at)
{
	struct ct_value value = {};

	value.lifetime = now_seconds() + LIFETIME_OPENING;
	value.nat_addr[NAT_ADDRESS] = address;
	value.nat_port = port;
	if (at == NAT_DEVICE)
		value.nat_addr[NAT_DEVICE] = other;
	else
		value.nat_addr[NAT_BACKEND] = other;
	cilium_ct4_global.update(key, &value);
}

__inline_always int relay(struct __sk_buff *skb, struct packet *packet, struct ends *to, __u32 identity)
{
	struct ipcache_value *remote = ipcache_of(to->daddr);
	struct ct_key towards = packet->tuple;
	int reason;

	towards.daddr = to->daddr;
	towards.dport = to->dport;
	towards.flags = CT_OUT;
	to->saddr = relay_address(remote);
	to->sport = relay_port(skb, &towards, to->saddr);
	if (!to->sport)
		return drop(skb, DROP_NAT_NO_MAPPING, METRIC_INGRESS);
	reason = translate_packet(skb, packet, to);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	if (remote && remote->tunnel[0] && !(remote->flags & IPCACHE_SKIP_TUNNEL))
		return encapsulate(skb, remote->tunnel[0], identity_outside(identity));
	return redirect_to_underlay(skb);
}

__inline_always int to_backend(struct __sk_buff *skb, struct packet *packet, struct ct_key *asked, struct ends *to,
			       int is_new)
{
	struct endpoint_value *local;
	struct ct_key opened = {};
	__u32 identity;
	int reason;

	if (to->daddr == asked->daddr && to->dport == asked->dport) /* a process of this node, as it was asked for */
		return NOT_OURS;
	identity = outside_identity(skb, asked->saddr);
	if (!identity)
		return drop(skb, DROP_INVALID_SOURCE_IP, METRIC_INGRESS);
	opened = packet->tuple;
	opened.daddr = to->daddr;
	opened.dport = to->dport;
	opened.flags = CT_SERVICE | CT_IN;
	if (is_new || !ct_track(&opened, packet, skb->len, 0))
		remember(&opened, asked->daddr, asked->dport, skb->ifindex, NAT_DEVICE);
	if (is_own_address(to->daddr))
		return to_own_process(skb, packet, to);
	local = endpoint_of(to->daddr);
	if (!local)
		return relay(skb, packet, to, identity);
	to->saddr = packet->tuple.saddr;
	to->sport = packet->tuple.sport;
	reason = translate_packet(skb, packet, to);
	if (!reason)
		reason = admit_ingress(skb, packet, local, identity);
	if (reason)
		return drop(skb, reason, METRIC_INGRESS);
	return deliver(skb, local);
}

__inline_always int handle_service(struct __sk_buff *skb, struct packet *packet)
{
	struct lb4_backend_value *backend;
	struct lb4_service_value *service;
	struct lb4_service_key key = {};
	struct ct_key asked = packet->tuple;
	struct ends to = {};
	int is_new = 0;
	__u32 id = 0;

	asked.flags = CT_SERVICE;
	key.address = asked.daddr;
	key.dport = asked.dport;
	key.proto = asked.nexthdr;
	service = service_outside(&key);
	if (service && !in_source_ranges(service, asked.saddr))
		return drop(skb, DROP_NOT_IN_SOURCE_RANGE, METRIC_INGRESS);
	/* established connections outlive their service */
	if ((service || (asked.nexthdr == PROTO_TCP && !packet->opens)) && chosen_before(packet, &asked, &to)) {
		ct_track(&asked, packet, skb->len, 0);
	} else {
		if (!service) {
			meets_own_process(packet);
			return NOT_OURS;
		}
		if (!service->count)
			return drop(skb, NO_BACKEND, METRIC_SERVICE);
		backend = choose_outside(&key, &asked, service, &id);
		if (!backend)
			return drop(skb, NO_BACKEND_SLOT, METRIC_SERVICE);
		to.daddr = backend->address;
		to.dport = backend->port;
		remember(&asked, to.daddr, to.dport, id, NAT_BACKEND);
		is_new = 1;
	}
	return to_backend(skb, packet, &asked, &to, is_new);
}

/* tcx ingress, the underlay. */
__inline_always int handle_from_netdev(struct __sk_buff *skb)
{
	struct node_config_value *node = node_config();
	struct packet packet = {};
	struct ct_key opened = {};
	struct ip_header ip;

	if (!node || skb->protocol != swap16(ETHERTYPE_IPV4) || bpf_skb_load_bytes(skb, ETH_HEADER, &ip, sizeof(ip)))
		return NOT_OURS;
	if (ip.protocol != PROTO_TCP && ip.protocol != PROTO_UDP && ip.protocol != PROTO_ICMP)
		return NOT_OURS;
	if (parse(skb, &packet))
		return NOT_OURS;
	if (ip.protocol == PROTO_ICMP)
		return handle_error(skb, &packet);
	if (ip.daddr == node->node_ip && is_answer_to_relay(&packet, &opened))
		return answer_client(skb, &packet, &opened);
	return handle_service(skb, &packet);
}

int cil_from_netdev(struct __sk_buff *skb)
{
	int verdict;

	if (skb->protocol == swap16(ETHERTYPE_IPV6))
		return from_netdev6(skb);
	begin(skb, METRIC_INGRESS);
	verdict = handle_from_netdev(skb);
	return verdict == NOT_OURS ? PASS : report(skb, verdict);
}
