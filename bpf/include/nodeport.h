/* SPDX-License-Identifier: Apache-2.0
 *
 * Where clients from outside meet a service.
 *
 * Node ports: the entry of the node's own address is for clients from outside; the one of 0.0.0.0
 * stands for every node of the mesh and is for the node's own clients. So each can have the
 * backends that its traffic policy says.
 *
 * External and load balancer addresses: one entry for both kinds of clients. Where the traffic
 * policies differ it says so (SERVICE_TWO_SCOPES), and another one, in a scope of its own, is
 * for those outside.
 */
#ifndef CLUSTERMESH_NODEPORT_H
#define CLUSTERMESH_NODEPORT_H

#include "host.h"
#include "natmaps.h"

#define SERVICE_EXTERNAL_IP (1 << 0)
#define SERVICE_NODE_PORT (1 << 1)
#define SERVICE_EXTERNAL_LOCAL (1 << 2)
#define SERVICE_LOAD_BALANCER (1 << 5)
#define SERVICE_SOURCE_RANGES (1 << 7)
#define SERVICE_DELEGATE_IF_LOCAL (1 << 3) /* in flags2 */
#define SERVICE_TWO_SCOPES (1 << 5) /* in flags2 */
#define SERVICE_SOURCE_RANGES_DENY (1 << 6) /* in flags2 */
#define SERVICE_OUTSIDE (SERVICE_EXTERNAL_IP | SERVICE_NODE_PORT | SERVICE_LOAD_BALANCER)
#define SCOPE_OUTSIDE 1

#define NODE_PORT_FIRST 30000 /* Kubernetes' range */
#define NODE_PORT_LAST 32767

#define IDENTITY_API_SERVER 7

__inline_always int is_node_port(__u16 port)
{
	return swap16(port) >= NODE_PORT_FIRST && swap16(port) <= NODE_PORT_LAST;
}

__inline_always int is_node(__u32 address)
{
	struct ipcache_value *entry = ipcache_of(address);

	return entry && !entry->tunnel[0] &&
	       (entry->identity == IDENTITY_HOST || entry->identity == IDENTITY_REMOTE_NODE ||
		entry->identity == IDENTITY_API_SERVER);
}

/* The service that a client on this node meets under `key`, whose address becomes the entry's. */
__inline_always struct lb4_service_value *service_inside(struct lb4_service_key *key)
{
	struct lb4_service_value *service = cilium_lb4_services_v2.lookup(key);

	if (service && !(service->flags & SERVICE_EXTERNAL_LOCAL))
		return service;
	if (!is_node_port(key->dport) || !is_node(key->address))
		return service;
	key->address = 0;
	return cilium_lb4_services_v2.lookup(key);
}

/* The service that a client from outside meets under `key`, whose scope becomes the entry's. */
__inline_always struct lb4_service_value *service_outside(struct lb4_service_key *key)
{
	struct lb4_service_value *service = cilium_lb4_services_v2.lookup(key);

	if (!service || !(service->flags & SERVICE_OUTSIDE))
		return 0;
	if (!(service->flags2 & SERVICE_TWO_SCOPES))
		return service;
	key->scope = SCOPE_OUTSIDE;
	return cilium_lb4_services_v2.lookup(key);
}

/* May this client use the service? */
__inline_always int in_source_ranges(struct lb4_service_value *service, __u32 client)
{
	struct lb4_source_range_key key = {};

	if (!(service->flags & SERVICE_SOURCE_RANGES))
		return 1;
	key.prefixlen = SOURCE_RANGE_FIXED_BITS + 32;
	key.rev_nat_id = service->rev_nat_index;
	key.address = client;
	return (cilium_lb4_source_range.lookup(&key) != 0) != !!(service->flags2 & SERVICE_SOURCE_RANGES_DENY);
}

#endif
