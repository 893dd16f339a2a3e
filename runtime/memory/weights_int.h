/* SPDX-License-Identifier: MIT */
/*
 * Inside the pager: what weights.c lays out, weights_places.c has memory for and
 * weights_reader.c reads.
 */
#ifndef LINNET_MEMORY_WEIGHTS_INT_H
#define LINNET_MEMORY_WEIGHTS_INT_H

#include "weights.h"

#include <time.h>

#define BLOCK LINNET_WEIGHTS_BLOCK
/* Bytes of one request: huge-page sized requests reach the disk's rate. */
#define REQUEST ((size_t)2 << 20)

struct span {
	uint32_t file;
	uint64_t from, to;	/* in the file, whole blocks */
	uint64_t at;		/* in the unit */
};

/* Units that lie side by side in the resident region and have memory together. */
struct piece {
	uint64_t at, bytes;
	bool taken;
};

/* A place that holds one unit at a time: a resident unit's own, or a slot of the ring. */
struct place {
	struct linnet_region *region;
	uint64_t at;
	struct linnet_read *read;
	size_t pending;
	struct unit *unit;	/* what it holds or gets; NULL: nothing */
	uint64_t touched;	/* of a slot: what lies behind has no memory */
	int error;
	bool checked;		/* against the checksums */
};

struct unit {
	size_t n;
	const struct linnet_gguf_tensor **tensor;	/* as given */
	uint64_t *at;					/* their places in the unit */
	uint64_t *sum;					/* checksums, when they are kept */
	struct span *span;
	size_t n_spans, n_reads;
	uint64_t bytes;
	bool streamed, fixed, optional, absent, summed, suspect;
	bool late, backed;	/* backed: its own place may have memory */
	unsigned users;
	struct piece *piece;	/* that its own place is in */
	struct place own;
	struct place *place;	/* where it is or is being read to; NULL: nowhere */
};

struct linnet_weights {
	const struct linnet_gguf *g;
	struct linnet_weights_options opts;
	int *fd;
	bool *direct;
	size_t n_files;
	struct unit *unit;
	size_t *order;		/* of units in the resident region */
	struct piece *piece;	/* of that region, in the same order */
	size_t n_pieces;
	size_t n_units, n_streamed;
	struct place *slot;
	unsigned n_slots;
	struct linnet_region *resident, *ring;
	struct linnet_share *share;	/* NULL: with nobody */
	uint64_t resident_bytes, pass_bytes;
	uint64_t slot_bytes;	/* that a slot may take, by what is streamed */
	uint64_t slot_stride;	/* for the largest unit that may ever be, */
	uint64_t slot_most;	/* which has so many bytes */

	/* the pass: its first unit that is not done with; the reader: what it looks at
	 * next, from n_units on in the next pass */
	size_t pos, cursor;
	uint64_t checked_bytes;		/* bytes_read at the last check of the files */

	bool idle;			/* the machine may take what is here; nothing is read */
	bool lacks;			/* there was no memory for what was to be resident */
	const struct linnet_read *failed;
	int error;
	/* others may look on */
	_Atomic uint64_t bytes_read, start_ns, end_ns, verified_bytes, purged_bytes;
	_Atomic size_t pending;
};

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* weights_places.c */

/* Give each unit its place in the regions, which are reserved here. */
int weights_make_places(struct linnet_weights *w, const struct linnet_weight_unit *unit,
			struct linnet_error *err);
/* Have memory for all that is to be resident, and for the ring. */
int weights_take_memory(struct linnet_weights *w, struct linnet_error *err);
/* Have memory for the piece that a unit lies in, and in a slot for what is streamed. */
int weights_take_piece(struct linnet_weights *w, struct unit *u, struct linnet_error *err);
int weights_take_slot(struct linnet_weights *w, struct place *p, struct linnet_error *err);
/* What a place holds is of no use any more. */
void weights_empty(struct place *p);
/* Empty a resident place whose unit is to be elsewhere, once nothing needs it. */
void weights_leave(struct unit *u);
/* The units of a piece go on as if they were not to be resident. */
void weights_send_away(struct linnet_weights *w, const struct piece *p);
/* Give back memory that nobody needs. */
void weights_trim(struct linnet_weights *w);

/* weights_reader.c */

/* Let the reader go on as far as it can. */
void weights_advance(struct linnet_weights *w);
/* Wait for the reads under way; no new ones are begun. */
void weights_drain(struct linnet_weights *w, int error);

#endif
