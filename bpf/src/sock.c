/* SPDX-License-Identifier: Apache-2.0
 *
 * Services without NAT: a socket is connected to a backend in the first place,
 * and is told the service's address whenever it asks for its peer.
 *
 * A service that has no backend is refused with EHOSTUNREACH, as Cilium does.
 *
 * A service with session affinity sends a client to the backend that it had last, for
 * as long as it comes back within the time-out and the service has the backend. A client
 * is a network namespace, so a pod; all of the node's own processes are one.
 */
#include "../include/nodeport.h"

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

__inline_always struct lb4_backend_value *backend_of(__u32 id)
{
	struct lb4_backend_key key = {};

	key.id = id;
	return cilium_lb4_backends_v3.lookup(&key);
}

/* A backend of the service whose master entry is `service`, its number in `id`; 0 if the lists
 * are just being changed. */
__inline_always struct lb4_backend_value *choose(struct lb4_service_key *key, struct lb4_service_value *service,
						 __u32 *id)
{
	struct lb4_service_value *entry;

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
	*id = entry->backend_id;
	return backend_of(*id);
}

/* Once more if need be: a change is many writes, each of them whole. */
__inline_always struct lb4_backend_value *choose_now(struct lb4_service_key *key,
						     struct lb4_service_value *service, __u32 *id)
{
	struct lb4_backend_value *backend = choose(key, service, id);

	return backend ? backend : choose(key, service, id);
}

__inline_always __u64 seconds(void)
{
	return bpf_ktime_get_ns() / 1000000000ULL;
}

/* The backend that this client had last, its number in `id`; 0 if it has none, came too late, or the service lost it. */
__inline_always struct lb4_backend_value *kept(struct lb4_affinity_key *client, __u64 timeout, __u32 *id)
{
	struct lb4_affinity_value *had = cilium_lb4_affinity.lookup(client);
	struct lb_affinity_match_key match = {};
	struct lb4_backend_value *backend;
	__u64 now = seconds();

	if (!had)
		return 0;
	match.backend_id = had->backend_id;
	match.rev_nat_id = client->rev_nat_id;
	if (had->last_used + timeout > now && cilium_lb_affinity_match.lookup(&match)) {
		backend = backend_of(match.backend_id);
		if (backend) {
			had->last_used = now;
			*id = match.backend_id;
			return backend;
		}
	}
	cilium_lb4_affinity.delete(client);
	return 0;
}

/* As `choose_now`, for a service with session affinity. */
__inline_always struct lb4_backend_value *choose_for(struct lb4_affinity_key *client, struct lb4_service_key *key,
						     struct lb4_service_value *service, __u32 *id)
{
	__u64 timeout = service->backend_id & AFFINITY_SECONDS;
	struct lb4_affinity_value having = {};
	struct lb4_backend_value *backend, *first;

	backend = kept(client, timeout, id);
	if (backend)
		return backend;
	backend = choose_now(key, service, id);
	if (!backend)
		return 0;
	having.backend_id = *id;
	having.last_used = seconds();
	if (!cilium_lb4_affinity.insert(client, &having))
		return backend;
	/* another connection of this client was quicker: both go to its backend */
	first = kept(client, timeout, id);
	return first ? first : backend;
}

__inline_always struct lb4_backend_value *choose_for_client(struct bpf_sock_addr *ctx, struct lb4_service_key *key,
							    struct lb4_service_value *service, __u32 *id)
{
	struct lb4_affinity_key client = {};

	client.client = bpf_get_netns_cookie(ctx);
	client.netns_cookie = 1;
	client.rev_nat_id = service->rev_nat_index;
	return choose_for(&client, key, service, id);
}

__inline_always int refuse(__u8 reason)
{
	count(reason, METRIC_SERVICE, 0);
	bpf_set_retval(-NO_ROUTE_TO_HOST);
	return REJECT;
}

/* The backend for a socket that asks for this address at ctx->user_port. 0: it is to go there itself,
 * or nowhere if `verdict` says so. Also for the hooks of IPv6, which see IPv4 addresses as mapped ones. */
__inline_always struct lb4_backend_value *translated(struct bpf_sock_addr *ctx, __u32 address, int *verdict)
{
	struct lb4_reverse_sk_key peer = {};
	struct lb4_reverse_sk_value believed = {};
	struct lb4_service_key key = {};
	struct lb4_service_value *service;
	struct lb4_backend_value *backend;
	__u32 id;

	*verdict = PROCEED;
	if (ctx->protocol != PROTO_TCP_SOCKET && ctx->protocol != PROTO_UDP_SOCKET)
		return 0;
	key.address = address;
	key.dport = ctx->user_port;
	key.proto = ctx->protocol;
	service = service_inside(&key);
	if (!service)
		return 0;
	if (!service->count) {
		*verdict = refuse(NO_BACKEND);
		return 0;
	}
	if (service->flags & SERVICE_SESSION_AFFINITY)
		backend = choose_for_client(ctx, &key, service, &id);
	else
		backend = choose_now(&key, service, &id);
	if (!backend) {
		*verdict = refuse(NO_BACKEND_SLOT);
		return 0;
	}

	believed.address = address; /* the entry may be that of any node's address */
	believed.port = ctx->user_port;
	believed.rev_nat_index = service->rev_nat_index;
	peer.cookie = bpf_get_socket_cookie(ctx);
	peer.address = backend->address;
	peer.port = backend->port;
	cilium_lb4_reverse_sk.update(&peer, &believed);
	return backend;
}

/* From service to backend. */
__inline_always int translate(struct bpf_sock_addr *ctx)
{
	struct lb4_backend_value *backend;
	int verdict;

	backend = translated(ctx, ctx->user_ip4, &verdict);
	if (backend) {
		ctx->user_ip4 = backend->address;
		ctx->user_port = backend->port;
	}
	return verdict;
}

/* The service that this socket asked for when it got this backend at ctx->user_port; 0 if none, or if
 * it is no more. */
__inline_always struct lb4_reverse_sk_value *believed_in(struct bpf_sock_addr *ctx, __u32 backend)
{
	struct lb4_reverse_sk_key peer = {};
	struct lb4_service_key key = {};
	struct lb4_reverse_sk_value *believed;
	struct lb4_service_value *service;

	peer.cookie = bpf_get_socket_cookie(ctx);
	peer.address = backend;
	peer.port = ctx->user_port;
	believed = cilium_lb4_reverse_sk.lookup(&peer);
	if (!believed)
		return 0;
	key.address = believed->address;
	key.dport = believed->port;
	key.proto = ctx->protocol;
	service = service_inside(&key);
	return service && service->rev_nat_index == believed->rev_nat_index ? believed : 0;
}

/* From backend to service. */
__inline_always int translate_back(struct bpf_sock_addr *ctx)
{
	struct lb4_reverse_sk_value *believed = believed_in(ctx, ctx->user_ip4);

	if (believed) {
		ctx->user_ip4 = believed->address;
		ctx->user_port = believed->port;
	}
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
