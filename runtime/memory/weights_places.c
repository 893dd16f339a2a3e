// SPDX-License-Identifier: MIT
/*
 * The pager's memory: the places of units, and the pieces and pages behind them.
 *
 * Resident units lie in one region, those of low rank first, so that what goes first
 * lies together at the end: then memory is given back in whole huge pages. A unit that a
 * job has still in use keeps its own memory alone. Where an engine gives memory in pieces, a
 * piece is units that go and come together, and a slot of the ring is one.
 */
#include "weights_int.h"

#include "share.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <stdlib.h>

/* Slots that are large enough begin at huge pages, so that each can be cut short. */
#define SLOT_ALIGN ((uint64_t)2 << 20)

struct slab_entry {
	const struct linnet_weight_unit *unit;
	size_t number;
};

uint64_t linnet_weights_slot_bytes(uint64_t unit_bytes, uint64_t largest)
{
	return largest < SLOT_ALIGN ? unit_bytes :
				      (unit_bytes + SLOT_ALIGN - 1) & ~(SLOT_ALIGN - 1);
}

static int make_place(struct place *p, struct linnet_region *region, uint64_t at, size_t n_reads)
{
	p->region = region;
	p->at = at;
	p->read = calloc(n_reads + 1, sizeof(*p->read));
	return p->read ? 0 : -ENOMEM;
}

/* Is a unit always resident? */
static bool stays(const struct linnet_weight_unit *u)
{
	return u->fixed && !u->optional;
}

/* Those that stay first, as memory is given back from the end, then those that are
 * resident now, then by rank, then in order. */
static int by_rank(const void *a, const void *b)
{
	const struct slab_entry *x = a, *y = b;

	const bool gone[2] = { x->unit->streamed || x->unit->absent,
			       y->unit->streamed || y->unit->absent };

	if (stays(x->unit) != stays(y->unit))
		return stays(x->unit) ? -1 : 1;
	if (gone[0] != gone[1])
		return gone[0] ? 1 : -1;
	if (x->unit->rank != y->unit->rank)
		return x->unit->rank < y->unit->rank ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Does a unit go on with the piece of the one that lies before it? */
static bool same_piece(const struct linnet_weights *w, const struct linnet_weight_unit *a,
		       const struct linnet_weight_unit *b)
{
	/* what others have is had unit by unit */
	return a->piece && a->piece == b->piece && !w->opts.share_dir;
}

/* Give each unit its place in the resident region; *all gets the size of all together. */
static int lay_out(struct linnet_weights *w, const struct linnet_weight_unit *unit, uint64_t *all)
{
	const bool in_pieces = w->opts.engine->ops->in_pieces;
	struct slab_entry *entry = malloc((w->n_units + 1) * sizeof(*entry));
	const struct linnet_weight_unit *last = NULL;
	struct piece *p = NULL;

	if (!entry)
		return -ENOMEM;
	for (size_t i = 0; i < w->n_units; i++)
		entry[i] = (struct slab_entry){ &unit[i], i };
	qsort(entry, w->n_units, sizeof(*entry), by_rank);
	*all = 0;
	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[entry[i].number];

		w->order[i] = entry[i].number;
		if (!u->n)
			continue;
		if (!last || !same_piece(w, last, entry[i].unit)) {
			/* pages of their own: large ones, where it is worth that */
			if (in_pieces)
				*all = (*all + SLOT_ALIGN - 1) & ~(SLOT_ALIGN - 1);
			p = &w->piece[w->n_pieces++];
			*p = (struct piece){ .at = *all };
		}
		last = entry[i].unit;
		u->piece = p;
		u->own.at = *all;
		p->bytes += u->bytes;
		*all += u->bytes;
	}
	free(entry);
	return 0;
}

/* What is resident, what is streamed, and what that needs of the ring. */
static void count_units(struct linnet_weights *w)
{
	w->n_streamed = 0;
	w->resident_bytes = w->pass_bytes = w->slot_bytes = 0;
	for (size_t i = 0; i < w->n_units; i++) {
		const struct unit *u = &w->unit[i];
		const uint64_t bytes = linnet_weights_slot_bytes(u->bytes, w->slot_most);

		if (u->streamed) {
			w->n_streamed++;
			w->pass_bytes += u->bytes;
			w->slot_bytes = bytes > w->slot_bytes ? bytes : w->slot_bytes;
		} else if (!u->absent) {
			w->resident_bytes += u->bytes;
		}
	}
}

/* Where in the resident region what is resident ends: what goes lies behind what stays. */
static uint64_t resident_end(const struct linnet_weights *w)
{
	uint64_t end = 0;

	for (size_t i = 0; i < w->n_units; i++) {
		const struct unit *u = &w->unit[i];

		if (!u->streamed && !u->absent && u->own.at + u->bytes > end)
			end = u->own.at + u->bytes;
	}
	return end;
}

/* Let the resident region know where it ends. */
static void set_border(const struct linnet_weights *w)
{
	struct linnet_engine *e = w->opts.engine;

	/* units that may be shared have their own borders */
	if (w->resident && e->ops->region_border && !w->opts.share_dir)
		e->ops->region_border(e, w->resident, resident_end(w));
}

/* Have memory for the piece that a unit lies in: with others, for the unit, as others have it or
 * for our own copy. */
int weights_take_piece(struct linnet_weights *w, struct unit *u, struct linnet_error *err)
{
	struct linnet_engine *e = w->opts.engine;
	struct piece *p = u->piece;
	int ret = 0;

	if (p->taken)
		return 0;
	if (w->share && !linnet_share_take(w->share, u - w->unit))
		ret = linnet_share_make(w->share, u - w->unit, err);
	else if (!w->share && e->ops->in_pieces)
		ret = e->ops->region_take(e, w->resident, p->at, p->bytes, err);
	p->taken = !ret && e->ops->in_pieces;
	return ret;
}

/* Have as much memory in a slot as what is streamed now needs. */
int weights_take_slot(struct linnet_weights *w, struct place *p, struct linnet_error *err)
{
	struct linnet_engine *e = w->opts.engine;
	int ret;

	if (!e->ops->in_pieces || p->touched == w->slot_bytes)
		return 0;
	if (p->touched)
		e->ops->region_discard(e, w->ring, p->at, p->touched);
	p->touched = 0;
	if (!w->slot_bytes)
		return 0;
	ret = e->ops->region_take(e, w->ring, p->at, w->slot_bytes, err);
	if (!ret)
		p->touched = w->slot_bytes;
	return ret;
}

int weights_make_places(struct linnet_weights *w, const struct linnet_weight_unit *unit,
			struct linnet_error *err)
{
	/* what may become another process's memory, too, is mapped in small pages */
	const enum linnet_pages pages = w->opts.no_huge_pages ? LINNET_PAGES_SMALL :
					w->opts.share_dir ? LINNET_PAGES_HUGE : LINNET_PAGES_POOL;
	struct linnet_engine *e = w->opts.engine;
	size_t most_reads = 0;
	uint64_t all = 0;
	int ret = lay_out(w, unit, &all);

	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[i];

		if (u->fixed || !(u->streamed || w->opts.changes))
			continue;
		w->n_slots++;
		w->slot_most = u->bytes > w->slot_most ? u->bytes : w->slot_most;
		most_reads = u->n_reads > most_reads ? u->n_reads : most_reads;
	}
	w->slot_stride = linnet_weights_slot_bytes(w->slot_most, w->slot_most);
	count_units(w);
	if (w->n_slots > w->opts.n_slots)
		w->n_slots = w->opts.n_slots;
	/* what may become resident later lies behind what is */
	if (!ret && w->opts.changes && linnet_region_reservable(all) &&
	    e->ops->region_reserve(e, &w->resident, all, pages, NULL))
		w->resident = NULL;
	if (!ret && w->resident_bytes && !w->resident)
		ret = e->ops->region_reserve(e, &w->resident, resident_end(w), pages, err);
	if (!ret && w->n_slots)
		ret = e->ops->region_reserve(e, &w->ring, w->slot_stride * w->n_slots, pages, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < w->n_units && !ret; i++)
		ret = make_place(&w->unit[i].own, w->resident, w->unit[i].own.at,
				 w->unit[i].n_reads);
	for (unsigned i = 0; i < w->n_slots && !ret; i++)
		ret = make_place(&w->slot[i], w->ring, i * w->slot_stride, most_reads);
	set_border(w);
	return ret ? linnet_err(err, ret, "%s: out of memory", linnet_gguf_path(w->g)) : 0;
}

/* What is to be resident and cannot be is an error now, and none later. */
int weights_take_memory(struct linnet_weights *w, struct linnet_error *err)
{
	int ret = 0;

	for (size_t i = 0; i < w->n_units && w->opts.engine->ops->in_pieces && !ret; i++)
		if (w->unit[i].n && !w->unit[i].streamed && !w->unit[i].absent)
			ret = weights_take_piece(w, &w->unit[i], err);
	for (unsigned i = 0; i < w->n_slots && !ret; i++)
		ret = weights_take_slot(w, &w->slot[i], err);
	return ret;
}

void weights_empty(struct place *p)
{
	if (p->unit && p->unit->place == p)
		p->unit->place = NULL;
	p->unit = NULL;
	p->error = 0;
}

void weights_leave(struct unit *u)
{
	if ((u->streamed || u->absent) && u->own.unit && !u->own.pending &&
	    !(u->users && u->place == &u->own))
		weights_empty(&u->own);
}

/* Give back what a slot has too much for what is streamed now: of one that is a piece, all. */
static void trim_slot(struct linnet_weights *w, struct place *p)
{
	struct linnet_engine *e = w->opts.engine;
	const uint64_t keep = e->ops->in_pieces ? 0 : w->slot_bytes;

	if (p->touched <= w->slot_bytes || p->pending)
		return;
	if (p->unit && p->unit->bytes > keep) {
		if (p->unit->users)
			return;
		weights_empty(p);
	}
	e->ops->region_discard(e, w->ring, p->at + keep, p->touched - keep);
	p->touched = keep;
}

static void give_back(struct linnet_weights *w, uint64_t from, uint64_t to)
{
	struct linnet_engine *e = w->opts.engine;

	e->ops->region_discard(e, w->resident, from, to - from);
	for (size_t i = 0; i < w->n_pieces; i++)
		if (w->piece[i].at >= from && w->piece[i].at + w->piece[i].bytes <= to)
			w->piece[i].taken = false;
}

/* Give back the memory of resident places that hold nothing, each run of them as a whole:
 * at its borders are huge pages that its neighbours have a part of. */
static void trim_resident(struct linnet_weights *w)
{
	uint64_t from = 0;
	bool some = false;

	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[w->order[i]];
		const bool taken = u->n && u->piece->taken;

		/* a piece may have been taken for what is not read yet */
		if (u->own.unit || (taken && !u->streamed && !u->absent)) {
			if (some)
				give_back(w, from, u->own.at);
			from = u->own.at + u->bytes;
			some = false;
		} else if (u->backed || taken) {
			if (w->share)
				linnet_share_drop(w->share, w->order[i]);
			u->backed = false;
			some = true;
		}
	}
	if (some)
		give_back(w, from, w->resident->bytes);
}

void weights_trim(struct linnet_weights *w)
{
	trim_resident(w);
	for (unsigned i = 0; i < w->n_slots; i++)
		trim_slot(w, &w->slot[i]);
}

void weights_send_away(struct linnet_weights *w, const struct piece *p)
{
	w->lacks = true;
	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[i];

		if (!u->n || u->piece != p)
			continue;
		/* what is always resident has always had its memory */
		u->streamed = !u->fixed;
		u->absent = u->optional;
		weights_leave(u);
	}
	count_units(w);
}

bool linnet_weights_give_way(struct linnet_weights *w)
{
	for (size_t i = w->n_units; i--;) {
		const struct unit *u = &w->unit[w->order[i]];

		if (!u->n || !u->piece->taken || u->streamed || u->absent ||
		    (u->fixed && !u->optional))
			continue;
		weights_send_away(w, u->piece);
		weights_trim(w);
		return true;
	}
	return false;
}

void linnet_weights_place(struct linnet_weights *w, const struct linnet_weight_unit *unit)
{
	const uint64_t reserved = w->resident ? w->resident->bytes : 0;

	if (!w->opts.changes)
		return;
	w->lacks = false;
	for (size_t i = 0; i < w->n_units; i++) {
		struct unit *u = &w->unit[i];
		const bool no_room = u->own.at + u->bytes > reserved;

		u->streamed = u->n && !u->fixed && (unit[i].streamed || no_room);
		u->absent = u->n && u->optional && (unit[i].absent || no_room);
		weights_leave(u);
	}
	count_units(w);
	weights_trim(w);
	set_border(w);
	w->cursor = w->pos;
	weights_advance(w);
}

bool linnet_weights_lack(const struct linnet_weights *w)
{
	return w->lacks;
}

/* Offer the machine each piece's memory, of units and of the ring. */
static int offer(struct linnet_weights *w)
{
	struct linnet_engine *e = w->opts.engine;
	int ret = 0;

	for (size_t i = 0; i < w->n_pieces && !ret; i++)
		if (w->piece[i].taken)
			ret = e->ops->region_idle(e, w->resident, w->piece[i].at,
						  w->piece[i].bytes);
	for (unsigned i = 0; i < w->n_slots && !ret; i++)
		if (w->slot[i].touched)
			ret = e->ops->region_idle(e, w->ring, w->slot[i].at, w->slot[i].touched);
	return ret;
}

int linnet_weights_idle(struct linnet_weights *w)
{
	w->idle = true;
	while (w->pending && !linnet_queue_wait(w->opts.queue))
		;
	return offer(w);
}

/* What a place holds is gone. */
static void lose(struct linnet_weights *w, struct place *p)
{
	if (p->unit && !p->error)
		w->purged_bytes += p->unit->bytes;
	weights_empty(p);
}

void linnet_weights_wake(struct linnet_weights *w)
{
	struct linnet_engine *e = w->opts.engine;

	w->idle = false;
	for (size_t i = 0; i < w->n_pieces; i++) {
		struct piece *p = &w->piece[i];

		if (p->taken && !e->ops->region_wake(e, w->resident, p->at, p->bytes))
			p->taken = false;
	}
	for (size_t i = 0; i < w->n_units; i++)
		if (w->unit[i].n && !w->unit[i].piece->taken)
			lose(w, &w->unit[i].own);
	for (unsigned i = 0; i < w->n_slots; i++) {
		struct place *p = &w->slot[i];

		if (p->touched && !e->ops->region_wake(e, w->ring, p->at, p->touched)) {
			lose(w, p);
			p->touched = 0;
		}
	}
}

struct linnet_weight linnet_weights_find(const struct linnet_weights *w, size_t unit, size_t i)
{
	const struct unit *u = &w->unit[unit];
	const struct place *p = u->place;

	return (struct linnet_weight){ p->region, p->at + u->at[i], u->tensor[i]->bytes };
}

size_t linnet_weights_pieces(const struct linnet_weights *w)
{
	const struct piece *last = w->n_pieces ? &w->piece[w->n_pieces - 1] : NULL;

	return last && w->resident && last->at + last->bytes <= w->resident->bytes ? w->n_pieces :
										     0;
}

struct linnet_weight linnet_weights_piece(const struct linnet_weights *w, size_t piece)
{
	const struct piece *p = &w->piece[piece];

	return (struct linnet_weight){ w->resident, p->at, p->bytes };
}

size_t linnet_weights_home(const struct linnet_weights *w, size_t unit, size_t i,
			   uint64_t *offset)
{
	const struct unit *u = &w->unit[unit];

	*offset = u->own.at - u->piece->at + u->at[i];
	return u->piece - w->piece;
}

bool linnet_weights_at_home(const struct linnet_weights *w)
{
	for (size_t i = 0; i < w->n_units; i++) {
		const struct unit *u = &w->unit[i];

		if (u->n && (u->place != &u->own || !linnet_weights_there(w, i)))
			return false;
	}
	return true;
}
