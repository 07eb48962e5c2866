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

__inline_always struct lb4_backend_value *backend_at(struct lb4_service_key *key, __u16 slot)
{
	struct lb4_service_value *entry;
	struct lb4_backend_key backend = {};

	key->backend_slot = slot;
	entry = cilium_lb4_services_v2.lookup(key);
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
	__u16 slots;

	if (ctx->protocol != PROTO_TCP_SOCKET && ctx->protocol != PROTO_UDP_SOCKET)
		return PROCEED;
	key.address = ctx->user_ip4;
	key.dport = ctx->user_port;
	key.proto = ctx->protocol;
	service = cilium_lb4_services_v2.lookup(&key);
	if (!service)
		return PROCEED;
	slots = service->count;
	if (!slots)
		return refuse(NO_BACKEND);
	backend = backend_at(&key, bpf_get_prandom_u32() % slots + 1);
	if (!backend) /* the list became shorter since we read its length */
		backend = backend_at(&key, 1);
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
