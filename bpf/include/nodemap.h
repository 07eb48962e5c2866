/* SPDX-License-Identifier: Apache-2.0
 *
 * cilium_node_map_v2: a node's address -> the number that stands for the node here. No program reads it:
 * it tells people and tools which addresses are one node's.
 */
#ifndef CLUSTERMESH_NODEMAP_H
#define CLUSTERMESH_NODEMAP_H

struct node_key {
	__u16 pad1;
	__u8 pad2;
	__u8 family;
	__u32 address[4]; /* BE; IPv4 in the first */
};

struct node_value {
	__u16 node_id;
	__u8 spi;
	__u8 pad;
};

BPF_TABLE_PINNED("hash", struct node_key, struct node_value, cilium_node_map_v2, 131072,
		 MAP_ROOT "/cilium_node_map_v2", BPF_F_NO_PREALLOC_FLAG);

#endif
