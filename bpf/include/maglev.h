/* SPDX-License-Identifier: Apache-2.0
 *
 * Consistent hashing for node ports: a client's address and port lead to the same backend on
 * every node. A service that has no table chooses at random.
 */
#ifndef CLUSTERMESH_MAGLEV_H
#define CLUSTERMESH_MAGLEV_H

#include "natmaps.h"

#define MAGLEV_SEED 0xcafe
#define JHASH_INITVAL 0xdeadbeef

#define rotate(x, n) (((x) << (n)) | ((x) >> (32 - (n))))

/* Bob Jenkins' hash of three words. */
__inline_always __u32 jhash_3words(__u32 a, __u32 b, __u32 c, __u32 seed)
{
	seed += JHASH_INITVAL + (3 << 2);
	a += seed;
	b += seed;
	c += seed;
	c ^= b;
	c -= rotate(b, 14);
	a ^= c;
	a -= rotate(c, 11);
	b ^= a;
	b -= rotate(a, 25);
	c ^= b;
	c -= rotate(b, 16);
	a ^= c;
	a -= rotate(c, 4);
	b ^= a;
	b -= rotate(a, 14);
	c ^= b;
	c -= rotate(b, 24);
	return c;
}

/* The node's address is not in it, as in Cilium: through whichever node a client comes. */
__inline_always __u32 maglev_hash(struct ct_key *tuple)
{
	return jhash_3words(tuple->saddr, ((__u32)tuple->dport << 16) | tuple->sport, tuple->nexthdr, MAGLEV_SEED);
}

/* A backend's id; 0 without a table, or if it is just being replaced. */
__inline_always __u32 maglev_choice(__u16 rev_nat_id, struct ct_key *tuple)
{
	struct maglev_table_key service = {};
	struct maglev_table_value *table;
	struct maglev_slots_value *slots;
	struct maglev_slots_key part = {};
	__u32 slot;

	service.rev_nat_id = rev_nat_id;
	table = cilium_maglev_tables.lookup(&service);
	if (!table || !table->size)
		return 0;
	slot = maglev_hash(tuple) % table->size;
	part.table = table->table;
	part.part = slot / MAGLEV_PART;
	slots = cilium_maglev_slots.lookup(&part);
	return slots ? slots->backend[slot % MAGLEV_PART] : 0;
}

#endif
