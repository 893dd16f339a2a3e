// SPDX-License-Identifier: MIT
/*
 * The pager's reader. It walks through the units in the order of the pass, on into the next
 * pass, and reads what is nowhere: a resident unit to its own place, a streamed one to the
 * slot whose unit is needed last. It stops where every slot is needed sooner, and goes
 * on when a unit is done with. Changing what is resident only changes what it finds.
 */
#include "weights_int.h"

#include "share.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <xxhash.h>

/* Requests that are queued ahead of the disk: enough to keep it busy, and few enough to
 * be through with soon when memory is wanted back. */
#define AHEAD 32

void weights_drain(struct linnet_weights *w, int error)
{
	if (!w->error)
		w->error = error;
	while (w->pending && !linnet_queue_wait(w->opts.queue))
		;
}

static void read_done(struct linnet_read *r, int result)
{
	struct linnet_weights *w = r->ctx;
	struct place *p = r->owner;

	if (result == -EINVAL && linnet_weights_go_buffered(w, r))
		return;
	p->pending--;
	if (result) {
		p->error = result;
		if (!w->error) {
			w->failed = r;
			w->error = result;
		}
	} else {
		w->bytes_read += r->need;
	}
	w->end_ns = now_ns();
	w->pending--;
	if (w->share && !p->pending && !p->error && p->unit && p == &p->unit->own &&
	    !p->unit->streamed && !p->unit->absent)
		linnet_share_give(w->share, p->unit - w->unit);
	if (!p->pending && p->unit && p == &p->unit->own &&
	    (p->unit->streamed || p->unit->absent)) {
		weights_leave(p->unit);
		weights_trim(w);
	}
	weights_advance(w);
}

/* Queue the reads of a unit into a place. */
static void read_unit(struct linnet_weights *w, struct unit *u, struct place *p)
{
	struct linnet_read *r = p->read;

	weights_empty(p);
	p->unit = u;
	p->checked = false;
	u->place = p;
	if (p == &u->own) {
		u->backed = true;
		if (w->share && linnet_share_take(w->share, u - w->unit))
			return;
	} else if (linnet_weights_slot_bytes(u->bytes, w->slot_most) > p->touched) {
		p->touched = linnet_weights_slot_bytes(u->bytes, w->slot_most);
	}
	for (size_t i = 0; i < u->n_spans; i++) {
		const struct span *s = &u->span[i];
		const uint64_t file_bytes = linnet_gguf_file_bytes(w->g, s->file);

		for (uint64_t at = s->from; at < s->to; at += REQUEST, r++) {
			uint64_t n = s->to - at < REQUEST ? s->to - at : REQUEST;

			*r = (struct linnet_read){
				.fd = w->fd[s->file],
				.buf = p->region->addr + p->at + s->at + (at - s->from),
				.offset = at,
				.bytes = n,
				/* the last block of a file may be cut short */
				.need = at + n <= file_bytes ? n : file_bytes - at,
				.align = w->direct[s->file] ? BLOCK : 1,
				.done = read_done,
				.ctx = w,
				.owner = p,
			};
			linnet_queue_read(w->opts.queue, r);
		}
	}
	p->pending = u->n_reads;
	w->pending += u->n_reads;
	if (!w->start_ns)
		w->start_ns = now_ns();
}

/* When a unit is needed next, in the cursor's count. */
static size_t next_use(const struct linnet_weights *w, const struct unit *u)
{
	const size_t i = u - w->unit;

	return i < w->pos ? i + w->n_units : i;
}

/* The slot whose unit is needed last, and later than what the cursor is at; or NULL. */
static struct place *take_slot(struct linnet_weights *w)
{
	struct place *best = NULL;
	size_t latest = w->cursor;

	for (unsigned i = 0; i < w->n_slots; i++) {
		struct place *p = &w->slot[i];

		if (p->pending || (p->unit && p->unit->users))
			continue;
		if (!p->unit)
			return p;
		if (next_use(w, p->unit) > latest) {
			latest = next_use(w, p->unit);
			best = p;
		}
	}
	return best;
}

/* Reads cannot go on for want of memory. */
static void fail(struct linnet_weights *w, int error)
{
	w->failed = NULL;
	w->error = error;
}

/* Is memory in use that will be given back? */
static bool is_busy(const struct linnet_weights *w)
{
	for (size_t i = 0; i < w->n_units; i++)
		if (w->unit[i].users || w->unit[i].own.pending)
			return true;
	return false;
}

/*
 * Memory for a unit's own place; without, it is streamed, or absent. What is always resident had
 * its memory from the start, and others give way to it if the machine took that. False: not before
 * a job ends.
 */
static bool have_piece(struct linnet_weights *w, struct unit *u)
{
	const bool stays = u->fixed && !u->optional;
	int ret;

	while ((ret = weights_take_piece(w, u, NULL)) && stays && linnet_weights_give_way(w))
		;
	if (!ret)
		return true;
	if (!stays)
		weights_send_away(w, u->piece);
	else if (is_busy(w))
		return false;
	else
		fail(w, ret);
	return true;
}

/* Memory for a slot. False: there is none, or not before a job ends. */
static bool have_slot(struct linnet_weights *w, struct place *p)
{
	int ret;

	while ((ret = weights_take_slot(w, p, NULL)) && linnet_weights_give_way(w))
		;
	if (ret && !is_busy(w))
		fail(w, ret);
	return !ret;
}

void weights_advance(struct linnet_weights *w)
{
	if (w->idle)
		return;
	for (; !w->error && w->pending < AHEAD && w->cursor < w->pos + w->n_units; w->cursor++) {
		struct unit *u = &w->unit[w->cursor % w->n_units];
		struct place *p = &u->own;

		if (!u->n || u->place || u->absent)
			continue;
		/* its turn is when the others have been read, before the next pass; what another
		 * process may have costs nothing */
		if (u->late && !w->share && w->cursor < w->n_units)
			continue;
		/* an own place may still be waiting for reads that nobody wants */
		if (!u->streamed && p->pending)
			return;
		if (!u->streamed && !have_piece(w, u))
			return;
		if (u->absent || w->error)
			continue;
		if (u->streamed) {
			p = take_slot(w);
			if (!p || !have_slot(w, p))
				return;
		}
		read_unit(w, u, p);
	}
}

/* Forget the reads that failed. */
static void recover(struct linnet_weights *w)
{
	weights_drain(w, w->error);
	for (size_t i = 0; i < w->n_units; i++)
		if (w->unit[i].own.error)
			weights_empty(&w->unit[i].own);
	for (unsigned i = 0; i < w->n_slots; i++)
		if (w->slot[i].error)
			weights_empty(&w->slot[i]);
	w->error = 0;
}

void linnet_weights_begin(struct linnet_weights *w)
{
	if (w->error)
		recover(w);
	if (w->share)
		linnet_share_settle(w->share);
	w->pos = w->cursor = 0;
	weights_advance(w);
	linnet_queue_poll(w->opts.queue);
}

/*
 * Compare the checksums of a unit that has arrived, or keep them the first time. One that
 * differs is read once more: 0. When it differs again: -EBADMSG.
 */
static int verify(struct linnet_weights *w, struct unit *u, struct linnet_error *err)
{
	struct place *p = u->place;

	for (size_t i = 0; i < u->n; i++) {
		const struct linnet_gguf_tensor *t = u->tensor[i];
		const uint64_t sum = XXH3_64bits(p->region->addr + p->at + u->at[i], t->bytes);

		if (!u->summed) {
			u->sum[i] = sum;
			continue;
		}
		w->verified_bytes += t->bytes;
		if (sum == u->sum[i])
			continue;
		if (!u->suspect) {
			u->suspect = true;
			read_unit(w, u, p);
			return 0;
		}
		u->suspect = false;
		weights_empty(p);
		return linnet_err(err, -EBADMSG,
				  "%s: tensor %.*s is not what was read at first "
				  "(checksum, %016llx, was %016llx)",
				  linnet_gguf_file_path(w->g, t->file), (int)t->name.n, t->name.p,
				  (unsigned long long)sum, (unsigned long long)u->sum[i]);
	}
	u->summed = p->checked = true;
	u->suspect = false;
	return 1;
}

int linnet_weights_ready(struct linnet_weights *w, size_t unit, struct linnet_error *err)
{
	struct unit *u = &w->unit[unit];

	if (!u->n)
		return 1;
	/* the reader may have stopped for want of a slot that is free by now */
	if (!u->place) {
		w->cursor = w->pos;
		weights_advance(w);
		if (u->late && !u->place && !u->absent && !w->error && have_piece(w, u) &&
		    !u->absent && !w->error)
			read_unit(w, u, &u->own);
	}
	if (u->place && !u->place->error) {
		if (u->place->pending)
			return 0;
		if (u->sum && !u->place->checked)
			return verify(w, u, err);
		return 1;
	}
	return linnet_weights_error(w, err);
}

void linnet_weights_use(struct linnet_weights *w, size_t unit)
{
	w->unit[unit].users++;
}

bool linnet_weights_absent(const struct linnet_weights *w, size_t unit)
{
	return w->unit[unit].absent;
}

bool linnet_weights_there(const struct linnet_weights *w, size_t unit)
{
	const struct place *p = w->unit[unit].place;

	return p && !p->pending && !p->error && (!w->unit[unit].sum || p->checked);
}

bool linnet_weights_in_slot(const struct linnet_weights *w, size_t unit)
{
	const struct unit *u = &w->unit[unit];

	return u->place && u->place != &u->own;
}

bool linnet_weights_away(const struct linnet_weights *w, size_t unit)
{
	const struct place *p = w->unit[unit].place;

	return !p || p->pending;
}

unsigned linnet_weights_in_use(const struct linnet_weights *w, size_t unit)
{
	return w->unit[unit].users;
}

void linnet_weights_done(struct linnet_weights *w, size_t unit, size_t next)
{
	struct unit *u = &w->unit[unit];

	u->users--;
	if (next > w->pos)
		w->pos = next;
	if (!u->users && u->place) {
		/* its own place is read to when its turn comes again */
		if (!u->streamed && u->place != &u->own)
			weights_empty(u->place);
		weights_leave(u);
		if (!u->place)
			weights_trim(w);
	}
	weights_advance(w);
}

bool linnet_weights_reading(const struct linnet_weights *w)
{
	return w->pending;
}
