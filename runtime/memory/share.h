/* SPDX-License-Identifier: MIT */
/*
 * Weights that processes hold once between them. What one has read becomes a descriptor,
 * which goes to the others over a socket. Each has the memory behind it where its own copy
 * would have been; it is there as long as anyone has it.
 *
 * One process serves the socket, whoever gets the lock beside it; it passes on what the
 * others tell it of. When it dies, the kernel lets go of the lock and another serves:
 * all have descriptors of what they use, so nothing is lost but what nobody else had.
 *
 * What a descriptor is of is the engine's affair: a memory file, or a buffer of a device's
 * driver. Those that have weights of one kind meet under one name, and never others.
 *
 * Trust: both sides have the same user, by the kernel's word, and the folder is that
 * user's alone. A descriptor counts when it is of the right kind and size. A memory file is
 * sealed: nobody can change it any more. A buffer cannot be. Each process maps it, and
 * attaches it for jobs, for reading alone, but one of the same user that means to can import
 * it and write to what all compute with: it is trusted not to.
 */
#ifndef LINNET_MEMORY_SHARE_H
#define LINNET_MEMORY_SHARE_H

#include "prefix.h"
#include "region.h"

struct linnet_engine;
struct linnet_share;

/* Where the process wants a unit: a part of a region, whole pages. */
struct linnet_share_unit {
	struct linnet_region *region;
	uint64_t at, bytes;
};

/* How an engine's memory becomes a descriptor, and a descriptor its memory. The unit is not
 * in use, and no other function is called for it at the same time. */
struct linnet_share_ops {
	/* take() may be called for a unit that is in use, by any thread. */
	bool at_once;
	/* The descriptor is of the kind and size that take() wants. By any thread. */
	bool (*is_sound)(struct linnet_engine *e, const struct linnet_share_unit *u, int fd);
	/* Have the unit in the memory behind fd, which no other unit has and this one has not
	 * yet. False: all is as it was. */
	bool (*take)(struct linnet_engine *e, const struct linnet_share_unit *u, int fd);
	/* Memory of our own to read the unit to, unless there is. */
	int (*make)(struct linnet_engine *e, const struct linnet_share_unit *u,
		    struct linnet_error *err);
	/* A descriptor of the unit, which is not written to any more; -1: it stays ours. */
	int (*give)(struct linnet_engine *e, const struct linnet_share_unit *u);
	/* Let go of what was taken or given. */
	void (*drop)(struct linnet_engine *e, const struct linnet_share_unit *u);
};

/* Anonymous memory of the process, which becomes sealed memory files (memfd). */
extern const struct linnet_share_ops linnet_share_memfd;

/*
 * dir: a folder of the user's; what is made in it goes with `name`, which stands for the model,
 * how it is divided into units, and the kind of memory. ops and e are whose memory it is. Waits
 * for what the others have at the moment.
 */
int linnet_share_open(struct linnet_share **out, const char *dir, struct linnet_hash128 name,
		      const struct linnet_share_ops *ops, struct linnet_engine *e,
		      const struct linnet_share_unit *unit, size_t n_units,
		      struct linnet_error *err);
/* The memory stays where it is. NULL is ignored. */
void linnet_share_close(struct linnet_share *s);

/* Have a unit that another process has: true. */
bool linnet_share_take(struct linnet_share *s, size_t unit);
/* Have memory of our own at a unit's place, without content, to read it to. */
int linnet_share_make(struct linnet_share *s, size_t unit, struct linnet_error *err);
/* The unit is at its place, in memory of our own: let others have it. When that cannot be,
 * it stays as it is. */
void linnet_share_give(struct linnet_share *s, size_t unit);
/* Give a unit's place up, and forget it. */
void linnet_share_drop(struct linnet_share *s, size_t unit);
/* No unit is in use: of those that another process has read at the same time, only one copy
 * stays. (Where memory can be exchanged at once, it has been.) */
void linnet_share_settle(struct linnet_share *s);

struct linnet_share_stats {
	uint64_t taken, given;	/* bytes that are mapped now, from others and for them */
	bool serving;
};
void linnet_share_stats(struct linnet_share *s, struct linnet_share_stats *stats);

#endif
