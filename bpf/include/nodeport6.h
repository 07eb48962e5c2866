/* SPDX-License-Identifier: Apache-2.0
 *
 * As nodeport.h and maglev.h, for clients of IPv6 from outside. (What a socket of this node meets
 * is in sock6.c.)
 */
#ifndef CLUSTERMESH_NODEPORT6_H
#define CLUSTERMESH_NODEPORT6_H

#include "maglev.h"
#include "natmaps6.h"
#include "nodeport.h"

/* The service that a client from outside meets under `key`, whose scope becomes the entry's. */
__inline_always struct lb4_service_value *service6_outside(struct lb6_service_key *key)
{
	struct lb4_service_value *service = cilium_lb6_services_v2.lookup(key);

	if (!service || !(service->flags & SERVICE_OUTSIDE))
		return 0;
	if (!(service->flags2 & SERVICE_TWO_SCOPES))
		return service;
	key->scope = SCOPE_OUTSIDE;
	return cilium_lb6_services_v2.lookup(key);
}

/* May this client use the service? */
__inline_always int in_source_ranges6(struct lb4_service_value *service, struct address6 *client)
{
	struct lb6_source_range_key key = {};

	if (!(service->flags & SERVICE_SOURCE_RANGES))
		return 1;
	key.prefixlen = SOURCE_RANGE_FIXED_BITS + 128;
	key.rev_nat_id = service->rev_nat_index;
	key.address = *client;
	return (cilium_lb6_source_range.lookup(&key) != 0) != !!(service->flags2 & SERVICE_SOURCE_RANGES_DENY);
}

/* As maglev_hash: the client's address is hashed to the one word that it is in IPv4. */
__inline_always __u32 maglev6_hash(struct ct6_key *tuple)
{
	struct address6 *client = &tuple->saddr;
	__u32 address = jhash_3words(client->words[0], client->words[1], client->words[2], client->words[3]);

	return jhash_3words(address, ((__u32)tuple->dport << 16) | tuple->sport, tuple->nexthdr, MAGLEV_SEED);
}

/* A backend's id; 0 without a table, or if it is just being replaced. */
__inline_always __u32 maglev6_choice(__u16 rev_nat_id, struct ct6_key *tuple)
{
	struct maglev_table_key service = {};
	struct maglev_table_value *table;
	struct maglev_slots_value *slots;
	struct maglev_slots_key part = {};
	__u32 slot;

	service.rev_nat_id = rev_nat_id;
	table = cilium_maglev6_tables.lookup(&service);
	if (!table || !table->size)
		return 0;
	slot = maglev6_hash(tuple) % table->size;
	part.table = table->table;
	part.part = slot / MAGLEV_PART;
	slots = cilium_maglev6_slots.lookup(&part);
	return slots ? slots->backend[slot % MAGLEV_PART] : 0;
}

#endif
