/* SPDX-License-Identifier: Apache-2.0
 *
 * Node ports: a service under every node's address.
 *
 * The entry of the node's own address is for clients from outside; the one of 0.0.0.0 stands for
 * every node of the mesh and is for the node's own clients. So each can have the backends that
 * its traffic policy says.
 */
#ifndef CLUSTERMESH_NODEPORT_H
#define CLUSTERMESH_NODEPORT_H

#include "host.h"

#define SERVICE_NODE_PORT (1 << 1)
#define SERVICE_EXTERNAL_LOCAL (1 << 2)

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

#endif
