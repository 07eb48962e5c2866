/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps the node's own processes off numbers at which a service answers clients outside: such a process
 * would listen where nobody can reach it, and its own answers to a connection that left from there would
 * be taken for the service's. Refused with what the kernel makes of it: EPERM, and counted.
 *
 * A process of the node is one in the node's network namespace: pods may bind what they like. Where a service
 * says that processes of the node may be its backends at this very port, they may bind it. So may anybody
 * who listens to nothing but the node itself (127.0.0.1, ::1): no service is there.
 */
#include "../include/endpoint6.h"

/* cilium_host_netns: one entry, at index 0. */
struct host_netns_value {
	__u64 cookie; /* of the node's network namespace; 0: not known */
};

BPF_TABLE_PINNED("array", int, struct host_netns_value, cilium_host_netns, 1, MAP_ROOT "/cilium_host_netns", 0);

__inline_always int is_of_the_node(struct bpf_sock *ctx)
{
	int index = 0;
	struct host_netns_value *node = cilium_host_netns.lookup(&index);

	if (ctx->protocol != PROTO_TCP_SOCKET && ctx->protocol != PROTO_UDP_SOCKET)
		return 0;
	return node && node->cookie && node->cookie == bpf_get_netns_cookie(ctx);
}

__inline_always int is_taken(struct lb4_service_value *service)
{
	return service && (service->flags & SERVICE_OUTSIDE) && !(service->flags2 & SERVICE_DELEGATE_IF_LOCAL);
}

__inline_always int is_taken4(struct bpf_sock *ctx, __u32 address)
{
	struct lb4_service_key key = {};

	key.address = address;
	key.dport = swap16((__u16)ctx->src_port); /* which a socket has in host byte order */
	key.proto = ctx->protocol;
	return is_taken(service_inside(&key));
}

__inline_always int is_taken6(struct bpf_sock *ctx, struct address6 *address)
{
	struct lb6_service_key key = {};

	key.address = *address;
	key.dport = swap16((__u16)ctx->src_port);
	key.proto = ctx->protocol;
	return is_taken(service6_inside(&key));
}

__inline_always int refused(void)
{
	count(BIND_REFUSED, METRIC_SERVICE, 0);
	return REJECT;
}

int cil_sock4_post_bind(struct bpf_sock *ctx)
{
	return is_of_the_node(ctx) && is_taken4(ctx, ctx->src_ip4) ? refused() : PROCEED;
}

/* Who listens at :: listens at 0.0.0.0 as well, unless the socket says no: which cannot be seen here. */
int cil_sock6_post_bind(struct bpf_sock *ctx)
{
	struct address6 address = {};
	int is_mapped_or_any;

	if (!is_of_the_node(ctx))
		return PROCEED;
	address.words[0] = ctx->src_ip6[0];
	address.words[1] = ctx->src_ip6[1];
	address.words[2] = ctx->src_ip6[2];
	address.words[3] = ctx->src_ip6[3];
	is_mapped_or_any = !address.words[0] && !address.words[1] &&
			   (address.words[2] == __builtin_bswap32(MAPPED_PREFIX) ||
			    (!address.words[2] && !address.words[3]));
	if (is_mapped_or_any && is_taken4(ctx, address.words[3]))
		return refused();
	return is_taken6(ctx, &address) ? refused() : PROCEED;
}
