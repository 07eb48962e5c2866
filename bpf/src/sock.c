/* SPDX-License-Identifier: Apache-2.0
 *
 * Services without NAT: a socket is connected to a backend in the first place,
 * and is told the service's address whenever it asks for its peer.
 *
 * A service that has no backend is refused with EHOSTUNREACH, as Cilium does.
 */
#include "../include/metrics.h"

#define PROTO_TCP_SOCKET 6
#define PROTO_UDP_SOCKET 17
#define REJECT 0
#define PROCEED 1
#define NO_ROUTE_TO_HOST 113 /* EHOSTUNREACH */

/* Any of a list's slots. */
__inline_always struct lb4_service_value *any_slot(struct lb4_service_key *key, __u16 slots)
{
	struct lb4_service_value *entry;

	if (!slots)
		return 0;
	key->backend_slot = bpf_get_prandom_u32() % slots + 1;
	entry = cilium_lb4_services_v2.lookup(key);
	if (entry)
		return entry;
	key->backend_slot = 1; /* the list became shorter since we read its length */
	return cilium_lb4_services_v2.lookup(key);
}

/* A backend of the service whose master entry is `service`; 0 if the lists are just being changed. */
__inline_always struct lb4_backend_value *choose(struct lb4_service_key *key, struct lb4_service_value *service)
{
	struct lb4_service_value *entry;
	struct lb4_backend_key backend = {};

	entry = any_slot(key, service->count);
	if (entry && entry->qcount) { /* clusters have shares: first a cluster's list, then one of it */
		key->scope = entry->qcount;
		key->backend_slot = 0;
		entry = cilium_lb4_services_v2.lookup(key);
		if (entry)
			entry = any_slot(key, entry->count);
		key->scope = 0;
	}
	key->backend_slot = 0;
	if (!entry)
		return 0;
	backend.id = entry->backend_id;
	return cilium_lb4_backends_v3.lookup(&backend);
}

__inline_always int refuse(__u8 reason)
{
	count(reason, METRIC_SERVICE, 0);
	bpf_set_retval(-NO_ROUTE_TO_HOST);
	return REJECT;
}

/* From service to backend. */
__inline_always int translate(struct bpf_sock_addr *ctx)
{
	struct lb4_reverse_sk_key peer = {};
	struct lb4_reverse_sk_value believed = {};
	struct lb4_service_key key = {};
	struct lb4_service_value *service;
	struct lb4_backend_value *backend;

	if (ctx->protocol != PROTO_TCP_SOCKET && ctx->protocol != PROTO_UDP_SOCKET)
		return PROCEED;
	key.address = ctx->user_ip4;
	key.dport = ctx->user_port;
	key.proto = ctx->protocol;
	service = cilium_lb4_services_v2.lookup(&key);
	if (!service)
		return PROCEED;
	if (!service->count)
		return refuse(NO_BACKEND);
	backend = choose(&key, service);
	if (!backend)
		backend = choose(&key, service); /* once more: a change is many writes, each of them whole */
	if (!backend)
		return refuse(NO_BACKEND_SLOT);

	believed.address = key.address;
	believed.port = key.dport;
	believed.rev_nat_index = service->rev_nat_index;
	peer.cookie = bpf_get_socket_cookie(ctx);
	peer.address = backend->address;
	peer.port = backend->port;
	cilium_lb4_reverse_sk.update(&peer, &believed);
	ctx->user_ip4 = backend->address;
	ctx->user_port = backend->port;
	return PROCEED;
}

/* From backend to the service that this socket asked for, while it exists. */
__inline_always int translate_back(struct bpf_sock_addr *ctx)
{
	struct lb4_reverse_sk_key peer = {};
	struct lb4_service_key key = {};
	struct lb4_reverse_sk_value *believed;
	struct lb4_service_value *service;

	peer.cookie = bpf_get_socket_cookie(ctx);
	peer.address = ctx->user_ip4;
	peer.port = ctx->user_port;
	believed = cilium_lb4_reverse_sk.lookup(&peer);
	if (!believed)
		return PROCEED;
	key.address = believed->address;
	key.dport = believed->port;
	key.proto = ctx->protocol;
	service = cilium_lb4_services_v2.lookup(&key);
	if (!service || service->rev_nat_index != believed->rev_nat_index)
		return PROCEED;
	ctx->user_ip4 = believed->address;
	ctx->user_port = believed->port;
	return PROCEED;
}

int cil_sock4_connect(struct bpf_sock_addr *ctx)
{
	return translate(ctx);
}

/* UDP without connect: every datagram chooses. */
int cil_sock4_sendmsg(struct bpf_sock_addr *ctx)
{
	return translate(ctx);
}

int cil_sock4_recvmsg(struct bpf_sock_addr *ctx)
{
	return translate_back(ctx);
}

int cil_sock4_getpeername(struct bpf_sock_addr *ctx)
{
	return translate_back(ctx);
}
