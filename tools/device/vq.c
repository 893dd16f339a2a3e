// SPDX-License-Identifier: MIT
/* Keeps vq.h. */
#include "vq.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static uint16_t load16(const __virtio16 *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static void store16(__virtio16 *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELEASE);
}

void vq_init(struct vq *q)
{
	*q = (struct vq){ .kick = -1, .call = -1 };
}

void vq_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

bool vq_resolve(struct vq *q, const struct guest_memory *m)
{
	q->desc = NULL;
	if (!q->num || !q->has_addresses || q->desc_user % 16 || q->avail_user % 2 ||
	    q->used_user % 4)
		return false;
	q->avail = guest_at_user(m, q->avail_user, sizeof(*q->avail) + (q->num + 1ull) * 2);
	q->used = guest_at_user(m, q->used_user, sizeof(*q->used) + q->num * 8ull + 2);
	if (!q->avail || !q->used)
		return false;
	/* the region's own addresses decide about alignment here */
	if ((uintptr_t)q->avail % 2 || (uintptr_t)q->used % 4)
		return false;
	q->desc = guest_at_user(m, q->desc_user, q->num * sizeof(struct vring_desc));
	if ((uintptr_t)q->desc % 16)
		q->desc = NULL;
	return q->desc;
}

bool vq_recover(struct vq *q)
{
	struct vq_inflight *f = q->inflight;
	uint16_t head;

	q->n_again = q->again_at = 0;
	if (!f)
		return true;
	if (!f->version) {
		f->num = (uint16_t)q->inflight_num;
		f->used_idx = q->used_idx;
		__atomic_store_n(&f->version, VQ_INFLIGHT_VERSION, __ATOMIC_RELEASE);
	}
	if (f->version != VQ_INFLIGHT_VERSION || f->num != q->inflight_num ||
	    q->num > q->inflight_num)
		return false;
	/* it died between the used ring and its notes */
	head = f->last;
	if (f->used_idx != q->used_idx && head < q->num)
		f->desc[head].taken = 0;
	f->used_idx = q->used_idx;
	for (head = 0; head < q->num; head++) {
		const uint64_t counter = f->desc[head].counter;
		unsigned at = q->n_again;

		if (!f->desc[head].taken)
			continue;
		for (; at && f->desc[q->again[at - 1]].counter > counter; at--)
			q->again[at] = q->again[at - 1];
		q->again[at] = head;
		q->n_again++;
		if (counter >= q->taken)
			q->taken = counter + 1;
	}
	/* the front end knows of what was given back alone */
	if (q->n_again)
		q->last_avail = (uint16_t)(q->used_idx + q->n_again);
	return true;
}

void vq_forget(struct vq *q)
{
	q->n_again = q->again_at = 0;
	for (uint32_t i = 0; q->inflight && i < q->inflight_num; i++)
		q->inflight->desc[i].taken = 0;
}

void vq_untake(struct vq *q, const struct vq_chain *c)
{
	if (q->inflight)
		__atomic_store_n(&q->inflight->desc[c->head].taken, 0, __ATOMIC_RELEASE);
}

/* Add one descriptor to the chain. */
static const char *add(struct vq_chain *c, const struct guest_memory *m,
		       const struct vring_desc *d)
{
	const uint64_t gpa = le64toh(d->addr);
	const uint32_t n = le32toh(d->len);

	if (le16toh(d->flags) & VRING_DESC_F_WRITE) {
		if (n && c->n_in < VQ_MAX_IN) {
			c->in[c->n_in].gpa = gpa;
			c->in[c->n_in++].bytes = n;
			c->in_bytes += n;
		}
		return NULL;
	}
	if (c->in_bytes || c->n_in)
		return "readable memory follows writable memory";
	if (c->out_bytes < c->out_room) {
		size_t part = n < c->out_room - c->out_bytes ? n : c->out_room - c->out_bytes;

		if (!guest_read(m, (char *)c->out + c->out_bytes, gpa, part))
			return "an address is not memory of the guest";
	}
	c->out_bytes += n;
	return NULL;
}

/* Walk a list of n descriptors, in the ring or in an indirect table at gpa. */
static const char *walk(struct vq *q, const struct guest_memory *m, struct vq_chain *c,
			uint32_t first, uint32_t n, uint64_t gpa, bool indirect)
{
	struct vring_desc d;
	const char *bad;
	uint32_t i = first;

	for (uint32_t left = n; left; left--) {
		if (i >= n)
			return "a descriptor's number is out of range";
		if (!indirect) {
			memcpy(&d, &q->desc[i], sizeof(d));
			__asm__ volatile("" ::: "memory");
		} else if (!guest_read(m, &d, gpa + i * sizeof(d), sizeof(d))) {
			return "an indirect table is not memory of the guest";
		}
		if (le16toh(d.flags) & VRING_DESC_F_INDIRECT) {
			const uint32_t bytes = le32toh(d.len);

			if (indirect)
				return "an indirect table in an indirect table";
			if (le16toh(d.flags) & (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE))
				return "an indirect descriptor that is more than that";
			if (!bytes || bytes % sizeof(d) || bytes / sizeof(d) > VQ_MAX_CHAIN)
				return "an indirect table's length";
			return walk(q, m, c, 0, bytes / sizeof(d), le64toh(d.addr), true);
		}
		bad = add(c, m, &d);
		if (bad)
			return bad;
		if (!(le16toh(d.flags) & VRING_DESC_F_NEXT))
			return NULL;
		i = le16toh(d.next);
	}
	return "a loop of descriptors";
}

int vq_pop(struct vq *q, const struct guest_memory *m, struct vq_chain *c)
{
	uint16_t n;

	if (!vq_runs(q))
		return 0;
	c->again = q->again_at < q->n_again;
	if (c->again) {
		c->head = q->again[q->again_at++];
	} else {
		n = load16(&q->avail->idx) - q->last_avail;
		if (!n)
			return 0;
		if (n > q->num)
			goto err_broken;
		c->head = load16(&q->avail->ring[q->last_avail % q->num]);
		if (c->head >= q->num)
			goto err_broken;
		if (q->inflight) {
			q->inflight->desc[c->head].counter = q->taken++;
			__atomic_store_n(&q->inflight->desc[c->head].taken, 1, __ATOMIC_RELEASE);
		}
		q->last_avail++;
	}
	c->out_bytes = c->in_bytes = 0;
	c->n_in = 0;
	c->bad = walk(q, m, c, c->head, q->num, 0, false);
	return 1;

err_broken:
	q->broken = true;
	return -EPROTO;
}

bool vq_waits(const struct vq *q)
{
	return vq_runs(q) && (q->again_at < q->n_again ||
			      load16(&q->avail->idx) != q->last_avail);
}

bool vq_want_kick(struct vq *q)
{
	if (!vq_runs(q))
		return false;
	if (q->event_idx)
		store16((__virtio16 *)&q->used->ring[q->num], q->last_avail);
	else
		store16(&q->used->flags, 0);
	atomic_thread_fence(memory_order_seq_cst);
	return vq_waits(q);
}

void vq_push(struct vq *q, const struct guest_memory *m, const struct vq_chain *c,
		const void *response, uint32_t bytes)
{
	struct vq_inflight *f = q->inflight;
	struct vring_used_elem *e;
	const char *p = response;
	uint32_t left = bytes;

	if (!q->desc)
		return;
	if (c->in_bytes < bytes)
		left = bytes = 0;
	for (unsigned i = 0; left; i++) {
		uint32_t part = c->in[i].bytes < left ? c->in[i].bytes : left;

		if (!guest_write(m, c->in[i].gpa, p, part)) {
			bytes = 0;
			break;
		}
		p += part;
		left -= part;
	}
	e = &q->used->ring[q->used_idx % q->num];
	e->id = htole32(c->head);
	e->len = htole32(bytes);
	/* in this order, so that whoever comes after a death in between can tell */
	if (f) {
		f->desc[c->head].next = f->last;
		__atomic_store_n(&f->last, c->head, __ATOMIC_RELEASE);
	}
	store16(&q->used->idx, ++q->used_idx);
	if (f) {
		__atomic_store_n(&f->desc[c->head].taken, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&f->used_idx, q->used_idx, __ATOMIC_RELEASE);
	}
}

void vq_notify(struct vq *q, uint16_t old)
{
	struct pollfd p = { .fd = q->call, .events = POLLOUT };
	const uint64_t one = 1;

	if (!q->desc || q->call < 0 || q->used_idx == old)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (q->event_idx) {
		if (!vring_need_event(load16(&q->avail->ring[q->num]), q->used_idx, old))
			return;
	} else if (load16(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT) {
		return;
	}
	/* What cannot take more has not been read: the guest will be woken. It may be a
	 * pipe whose reader is gone; that is for the socket to tell. */
	if (poll(&p, 1, 0) == 1 && p.revents & POLLOUT && write(q->call, &one, sizeof(one)) < 0)
		return;
}
