/* SPDX-License-Identifier: MIT */
/*
 * Weights in memory: the pager. Tensors come in units that one job uses together;
 * a pass over the model uses the units in order, again and again. Some units are
 * resident: read once, kept. The others are streamed: each pass reads them anew into
 * a ring of slots, several units ahead of their use. In a fixed cycle that is the
 * best there is: any cache that keeps what was used last keeps what is needed last.
 * Which units are resident may change at any time, without a read more than the passes
 * need anyway.
 *
 * Units are read as they lie in the file, whole blocks by direct I/O where the file
 * system allows it, several requests in flight, and become ready in the order of
 * use, so that computing begins before reading has ended.
 *
 * Resident units may be memory that other processes have as well (share.h): what one of
 * them has read the others need not read.
 *
 * Never a wrong byte: a read that fails ends the pass, and the next pass tries again; a
 * file that is not what it was when the model was opened is an error from then on; and
 * when it is wished, what is read again must have the checksum of the first time.
 */
#ifndef LINNET_MEMORY_WEIGHTS_H
#define LINNET_MEMORY_WEIGHTS_H

#include "region.h"

#include "runtime/engine/engine.h"
#include "runtime/format/gguf.h"
#include "runtime/queue/queue.h"

struct linnet_weights;

struct linnet_weights_options {
	struct linnet_engine *engine;
	struct linnet_queue *queue;
	bool no_direct_io, no_huge_pages;
	bool verify;			/* compare checksums of what is read again */
	bool changes;			/* linnet_weights_place() will be called */
	const char *share_dir;		/* hold them once with other processes; NULL: do not */
	unsigned n_slots;		/* of the ring, when units are streamed */
};

/* A unit to be: tensors in any order. No unit shares a tensor with another. */
struct linnet_weight_unit {
	const struct linnet_gguf_tensor **tensor;
	size_t n;
	bool streamed;
	bool fixed;			/* never streamed */
	bool optional;			/* others see to it when it is absent */
	bool absent;			/* not read at all */
	bool late;			/* passes can begin without it: read after all others */
	uint32_t rank;			/* units of low rank are the last to be streamed */
	/* Those of one number go and come together, and have memory together where an engine
	 * gives it in pieces; 0: alone. */
	uint32_t piece;
	uint64_t bytes;			/* of memory; linnet_weights_measure() fills it */
};

/* Where a tensor is. */
struct linnet_weight {
	const struct linnet_region *region;
	uint64_t offset, bytes;
};

struct linnet_weights_stats {
	uint64_t bytes_read, read_ns;
	uint64_t first_bytes;		/* that a first pass reads */
	uint64_t pass_bytes;		/* that every later pass reads */
	uint64_t resident_bytes, ring_bytes;
	uint64_t verified_bytes;	/* whose checksum was compared */
	uint64_t shared_bytes;		/* that another process has read */
	uint64_t purged_bytes;		/* that the machine took */
	uint64_t pool_bytes;		/* of memory: pages of the system's pool of huge ones */
	bool direct_io, huge_pages;
};

/* What a slot of the ring takes that holds units of up to unit_bytes, where slots may come to
 * hold units of up to `largest` bytes. */
uint64_t linnet_weights_slot_bytes(uint64_t unit_bytes, uint64_t largest);

/* Fill in the bytes of memory that each unit takes. -ENOMEM. */
int linnet_weights_measure(struct linnet_weight_unit *unit, size_t n_units);

/* Open the files and allocate the regions; units are copied. Reads nothing yet. */
int linnet_weights_create(struct linnet_weights **out, const struct linnet_gguf *g,
			  const struct linnet_weight_unit *unit, size_t n_units,
			  const struct linnet_weights_options *opts, struct linnet_error *err);
/* Waits for the reads in flight. */
void linnet_weights_destroy(struct linnet_weights *w);

/*
 * Begin a pass at the first unit: what the ring holds is kept as long as the pass needs
 * it. Reads that failed are forgotten and made again. No unit may be in use.
 */
void linnet_weights_begin(struct linnet_weights *w);

/*
 * 1: the unit is in memory; 0: not yet, wait on the queue; -errno: a read failed, or
 * -EBADMSG: a checksum differs. Units are asked for in the order of the pass.
 */
int linnet_weights_ready(struct linnet_weights *w, size_t unit, struct linnet_error *err);
/* A unit that is ready stays where it is until it is done with as often as it was taken. */
void linnet_weights_use(struct linnet_weights *w, size_t unit);
/* next: the pass has done with all units before this one. */
void linnet_weights_done(struct linnet_weights *w, size_t unit, size_t next);

/* The unit is in memory, and may be used out of its turn: taken, and done with 0 for next. */
bool linnet_weights_there(const struct linnet_weights *w, size_t unit);

/* The unit is in a slot of the ring, which the reader waits for. */
bool linnet_weights_in_slot(const struct linnet_weights *w, size_t unit);

/* How often it was taken. */
unsigned linnet_weights_in_use(const struct linnet_weights *w, size_t unit);

/* The unit is not in memory, and reading it has not ended. */
bool linnet_weights_away(const struct linnet_weights *w, size_t unit);

/* The unit is absent, or will be when it is done with. */
bool linnet_weights_absent(const struct linnet_weights *w, size_t unit);

/* Place of tensor number i of a unit, as it was given; the unit is ready or in use. */
struct linnet_weight linnet_weights_find(const struct linnet_weights *w, size_t unit, size_t i);

/*
 * Each unit has a place of its own, where it is whenever it is resident; these lie in pieces:
 * how many there are, or 0 where addresses were not reserved for all of them.
 */
size_t linnet_weights_pieces(const struct linnet_weights *w);
struct linnet_weight linnet_weights_piece(const struct linnet_weights *w, size_t piece);
/* The piece that has a unit, and where it has the unit's tensor number i. */
size_t linnet_weights_home(const struct linnet_weights *w, size_t unit, size_t i,
			   uint64_t *offset);
/* All units are in their places now, and may be used. */
bool linnet_weights_at_home(const struct linnet_weights *w);

/*
 * Stream the units that have `streamed` set from now on, leave out those that are absent,
 * and keep the others, as far as memory was reserved for them and can be had when they are
 * read (what has none is streamed or absent until the next call). Memory of units that are not
 * in use is given back before this returns, of others when they are done with. Between jobs of
 * a pass, or passes.
 */
void linnet_weights_place(struct linnet_weights *w, const struct linnet_weight_unit *unit);
/* Was there no memory for some of that? */
bool linnet_weights_lack(const struct linnet_weights *w);

/*
 * Until linnet_weights_wake() the machine may take the memory of weights; what it took is read
 * again when its turn comes. Waits for the reads under way; none begin before the wake. No unit
 * is in use, or shared, and the engine has region_idle(). -errno: not all can be taken.
 */
int linnet_weights_idle(struct linnet_weights *w);
/* Then linnet_weights_begin(). */
void linnet_weights_wake(struct linnet_weights *w);

/* -ESTALE when a file that was read since the last call is not what it was. */
int linnet_weights_check(struct linnet_weights *w, struct linnet_error *err);

/* True while reads are under way. */
bool linnet_weights_reading(const struct linnet_weights *w);
/* The first read that failed: 0 or -errno, and a message. */
int linnet_weights_error(const struct linnet_weights *w, struct linnet_error *err);
void linnet_weights_stats(const struct linnet_weights *w, struct linnet_weights_stats *stats);

/* For others that read from the same files: gather.c, experts.c. */

/*
 * What is resident took all the memory there was when it grew as far as that went, and others
 * need some: the piece that would go first does. False: there is none.
 */
bool linnet_weights_give_way(struct linnet_weights *w);

/* Alignment of direct I/O that every disk accepts. */
#define LINNET_WEIGHTS_BLOCK ((size_t)4096)

struct linnet_engine *linnet_weights_engine(const struct linnet_weights *w);
struct linnet_queue *linnet_weights_queue(const struct linnet_weights *w);
/* Descriptor of a file of the model, and what its reads must be aligned to. */
void linnet_weights_file(const struct linnet_weights *w, uint32_t file, int *fd, size_t *align);
const char *linnet_weights_path(const struct linnet_weights *w, uint32_t file);
/* Note bytes that were read. */
void linnet_weights_count(struct linnet_weights *w, uint64_t bytes);
/* A read of a direct file ended with -EINVAL: true when it is queued again, buffered. */
bool linnet_weights_go_buffered(struct linnet_weights *w, struct linnet_read *r);
int linnet_weights_read_error(const struct linnet_weights *w, uint32_t file, uint64_t offset,
			      int error, struct linnet_error *err);

#endif
