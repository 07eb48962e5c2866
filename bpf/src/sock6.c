/* SPDX-License-Identifier: Apache-2.0
 *
 * As sock.c, for sockets of IPv6. Such a socket speaks IPv4 too, with mapped addresses
 * (::ffff:a.b.c.d), which most programs do: those are translated by the maps of IPv4. An
 * unconnected datagram to a mapped address the kernel itself shows to cil_sock4_sendmsg.
 */
#include "../include/endpoint6.h"

#define MAPPED_PREFIX 0xffff /* in the third word; the first two are 0 */

__inline_always int is_mapped(struct bpf_sock_addr *ctx)
{
	return !ctx->user_ip6[0] && !ctx->user_ip6[1] && ctx->user_ip6[2] == __builtin_bswap32(MAPPED_PREFIX);
}

__inline_always void asked_for(struct bpf_sock_addr *ctx, struct address6 *address)
{
	address->words[0] = ctx->user_ip6[0];
	address->words[1] = ctx->user_ip6[1];
	address->words[2] = ctx->user_ip6[2];
	address->words[3] = ctx->user_ip6[3];
}

__inline_always void ask_for(struct bpf_sock_addr *ctx, struct address6 *address, __u16 port)
{
	ctx->user_ip6[0] = address->words[0];
	ctx->user_ip6[1] = address->words[1];
	ctx->user_ip6[2] = address->words[2];
	ctx->user_ip6[3] = address->words[3];
	ctx->user_port = port;
}

__inline_always struct lb4_service_value *any_slot6(struct lb6_service_key *key, __u16 slots)
{
	struct lb4_service_value *entry;

	if (!slots)
		return 0;
	key->backend_slot = bpf_get_prandom_u32() % slots + 1;
	entry = cilium_lb6_services_v2.lookup(key);
	if (entry)
		return entry;
	key->backend_slot = 1;
	return cilium_lb6_services_v2.lookup(key);
}

__inline_always struct lb6_backend_value *backend6_of(__u32 id)
{
	struct lb4_backend_key key = {};

	key.id = id;
	return cilium_lb6_backends_v3.lookup(&key);
}

__inline_always struct lb6_backend_value *choose6(struct lb6_service_key *key, struct lb4_service_value *service,
						  __u32 *id)
{
	struct lb4_service_value *entry;

	entry = any_slot6(key, service->count);
	if (entry && entry->qcount) {
		key->scope = entry->qcount;
		key->backend_slot = 0;
		entry = cilium_lb6_services_v2.lookup(key);
		if (entry)
			entry = any_slot6(key, entry->count);
		key->scope = 0;
	}
	key->backend_slot = 0;
	if (!entry)
		return 0;
	*id = entry->backend_id;
	return backend6_of(*id);
}

__inline_always struct lb6_backend_value *choose6_now(struct lb6_service_key *key,
						      struct lb4_service_value *service, __u32 *id)
{
	struct lb6_backend_value *backend = choose6(key, service, id);

	return backend ? backend : choose6(key, service, id);
}

__inline_always struct lb6_backend_value *kept6(struct lb6_affinity_key *client, __u64 timeout, __u32 *id)
{
	struct lb4_affinity_value *had = cilium_lb6_affinity.lookup(client);
	struct lb_affinity_match_key match = {};
	struct lb6_backend_value *backend;
	__u64 now = seconds();

	if (!had)
		return 0;
	match.backend_id = had->backend_id;
	match.rev_nat_id = client->rev_nat_id;
	if (had->last_used + timeout > now && cilium_lb_affinity_match.lookup(&match)) {
		backend = backend6_of(match.backend_id);
		if (backend) {
			had->last_used = now;
			*id = match.backend_id;
			return backend;
		}
	}
	cilium_lb6_affinity.delete(client);
	return 0;
}

__inline_always struct lb6_backend_value *choose6_for(struct lb6_affinity_key *client, struct lb6_service_key *key,
						      struct lb4_service_value *service, __u32 *id)
{
	__u64 timeout = service->backend_id & AFFINITY_SECONDS;
	struct lb4_affinity_value having = {};
	struct lb6_backend_value *backend, *first;

	backend = kept6(client, timeout, id);
	if (backend)
		return backend;
	backend = choose6_now(key, service, id);
	if (!backend)
		return 0;
	having.backend_id = *id;
	having.last_used = seconds();
	if (!cilium_lb6_affinity.insert(client, &having))
		return backend;
	first = kept6(client, timeout, id);
	return first ? first : backend;
}

__inline_always struct lb6_backend_value *choose6_for_client(struct bpf_sock_addr *ctx, struct lb6_service_key *key,
							     struct lb4_service_value *service, __u32 *id)
{
	struct lb6_affinity_key client = {};

	client.client = bpf_get_netns_cookie(ctx);
	client.netns_cookie = 1;
	client.rev_nat_id = service->rev_nat_index;
	return choose6_for(&client, key, service, id);
}

__inline_always int translate_mapped(struct bpf_sock_addr *ctx)
{
	struct lb4_backend_value *backend;
	int verdict;

	backend = translated(ctx, ctx->user_ip6[3], &verdict);
	if (backend) {
		ctx->user_ip6[3] = backend->address;
		ctx->user_port = backend->port;
	}
	return verdict;
}

__inline_always int is_node6(struct address6 *address)
{
	struct ipcache_value *entry = ipcache6_of(address);

	return entry && !entry->tunnel[0] &&
	       (entry->identity == IDENTITY_HOST || entry->identity == IDENTITY_REMOTE_NODE ||
		entry->identity == IDENTITY_API_SERVER);
}

/* As service_inside: for node ports the entry of ::, which stands for every node's address. */
__inline_always struct lb4_service_value *service6_inside(struct lb6_service_key *key)
{
	struct lb4_service_value *service = cilium_lb6_services_v2.lookup(key);

	if (service && !(service->flags & SERVICE_EXTERNAL_LOCAL))
		return service;
	if (!is_node_port(key->dport) || !is_node6(&key->address))
		return service;
	__builtin_memset(&key->address, 0, sizeof(key->address));
	return cilium_lb6_services_v2.lookup(key);
}

/* From service to backend. */
__inline_always int translate6(struct bpf_sock_addr *ctx)
{
	struct lb6_reverse_sk_key peer = {};
	struct lb6_reverse_sk_value believed = {};
	struct lb6_service_key key = {};
	struct lb4_service_value *service;
	struct lb6_backend_value *backend;
	__u32 id;

	if (is_mapped(ctx))
		return translate_mapped(ctx);
	if (ctx->protocol != PROTO_TCP_SOCKET && ctx->protocol != PROTO_UDP_SOCKET)
		return PROCEED;
	asked_for(ctx, &key.address);
	believed.address = key.address; /* the entry may be that of any node's address */
	believed.port = key.dport = ctx->user_port;
	key.proto = ctx->protocol;
	service = service6_inside(&key);
	if (!service)
		return PROCEED;
	if (!service->count)
		return refuse(NO_BACKEND);
	if (service->flags & SERVICE_SESSION_AFFINITY)
		backend = choose6_for_client(ctx, &key, service, &id);
	else
		backend = choose6_now(&key, service, &id);
	if (!backend)
		return refuse(NO_BACKEND_SLOT);

	believed.rev_nat_index = service->rev_nat_index;
	peer.cookie = bpf_get_socket_cookie(ctx);
	peer.address = backend->address;
	peer.port = backend->port;
	cilium_lb6_reverse_sk.update(&peer, &believed);
	ask_for(ctx, &backend->address, backend->port);
	return PROCEED;
}

__inline_always int translate_mapped_back(struct bpf_sock_addr *ctx)
{
	struct lb4_reverse_sk_value *believed = believed_in(ctx, ctx->user_ip6[3]);

	if (believed) {
		ctx->user_ip6[3] = believed->address;
		ctx->user_port = believed->port;
	}
	return PROCEED;
}

/* From backend to service. */
__inline_always int translate6_back(struct bpf_sock_addr *ctx)
{
	struct lb6_reverse_sk_key peer = {};
	struct lb6_service_key key = {};
	struct lb6_reverse_sk_value *believed;
	struct lb4_service_value *service;

	if (is_mapped(ctx))
		return translate_mapped_back(ctx);
	peer.cookie = bpf_get_socket_cookie(ctx);
	asked_for(ctx, &peer.address);
	peer.port = ctx->user_port;
	believed = cilium_lb6_reverse_sk.lookup(&peer);
	if (!believed)
		return PROCEED;
	key.address = believed->address;
	key.dport = believed->port;
	key.proto = ctx->protocol;
	service = service6_inside(&key);
	if (service && service->rev_nat_index == believed->rev_nat_index)
		ask_for(ctx, &believed->address, believed->port);
	return PROCEED;
}

int cil_sock6_connect(struct bpf_sock_addr *ctx)
{
	return translate6(ctx);
}

int cil_sock6_sendmsg(struct bpf_sock_addr *ctx)
{
	return translate6(ctx);
}

int cil_sock6_recvmsg(struct bpf_sock_addr *ctx)
{
	return translate6_back(ctx);
}

int cil_sock6_getpeername(struct bpf_sock_addr *ctx)
{
	return translate6_back(ctx);
}
