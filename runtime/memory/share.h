/* SPDX-License-Identifier: MIT */
/*
 * Weights that processes hold once between them. What one has read becomes a sealed
 * memory file (memfd), which nobody can change any more, and its descriptor goes to the
 * others over a socket. Each maps it, read-only, where its own copy would have been; the
 * memory is there as long as anyone has it.
 *
 * One process serves the socket, whoever gets the lock beside it; it passes on what the
 * others tell it of. When it dies, the kernel lets go of the lock and another serves:
 * all have descriptors of what they use, so nothing is lost but what nobody else had.
 *
 * Trust: both sides have the same user, by the kernel's word, and the folder is that
 * user's alone. A descriptor counts when it is sealed and of the right size.
 */
#ifndef LINNET_MEMORY_SHARE_H
#define LINNET_MEMORY_SHARE_H

#include "prefix.h"

struct linnet_share;

struct linnet_share_unit {
	char *addr;		/* where the process wants it: whole pages */
	size_t bytes;
};

/*
 * dir: a folder of the user's; what is made in it goes with `name`, which stands for the model
 * and how it is divided into units. Waits for what the others have at the moment.
 */
int linnet_share_open(struct linnet_share **out, const char *dir, struct linnet_hash128 name,
		      const struct linnet_share_unit *unit, size_t n_units,
		      struct linnet_error *err);
/* The memory stays mapped. NULL is ignored. */
void linnet_share_close(struct linnet_share *s);

/* Map a unit that another process has: true. */
bool linnet_share_take(struct linnet_share *s, size_t unit);
/* The unit is at its place, in memory of our own: let others have it. When that cannot be,
 * it stays as it is. */
void linnet_share_give(struct linnet_share *s, size_t unit);
/* Have private memory, without content, at a unit's place, and forget it. */
void linnet_share_drop(struct linnet_share *s, size_t unit);

struct linnet_share_stats {
	uint64_t taken, given;	/* bytes that are mapped now, from others and for them */
	bool serving;
};
void linnet_share_stats(struct linnet_share *s, struct linnet_share_stats *stats);

#endif
