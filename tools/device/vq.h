/* SPDX-License-Identifier: MIT */
/*
 * A split virtqueue, the device's side. Descriptors, the available ring and what
 * they point to are written by a guest that is not trusted: every value is read
 * once into a copy, checked there, and used from there.
 */
#ifndef LINNET_DEVICE_VQ_H
#define LINNET_DEVICE_VQ_H

#include "guest.h"

#include <linux/virtio_ring.h>

#define VQ_MAX_SIZE		1024
/* Descriptors of one chain, those of an indirect table included. */
#define VQ_MAX_CHAIN		1024
/* A response has 16 bytes: no more pieces of writable memory are of interest. */
#define VQ_MAX_IN		16

/*
 * Which requests were taken and not given back, in memory that the front end keeps when this
 * process dies: the one after it is told of them. The layout is that of the vhost-user
 * specification for split rings, in the byte order of the machine.
 */
struct vq_inflight {
	uint64_t features;			/* zero */
	uint16_t version;			/* VQ_INFLIGHT_VERSION; 0: not used yet */
	uint16_t num;				/* entries in desc[] */
	uint16_t last;				/* head that was given back last */
	uint16_t used_idx;			/* when that was done */
	struct vq_inflight_desc {
		uint8_t taken, padding[5];
		uint16_t next;			/* that was given back before it */
		uint64_t counter;		/* order of taking */
	} desc[];
};

#define VQ_INFLIGHT_VERSION	1

struct vq {
	uint32_t num;				/* 0: not told yet */
	uint64_t desc_user, avail_user, used_user;
	bool has_addresses;
	struct vring_desc *desc;		/* NULL: not mapped */
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t last_avail, used_idx;
	bool event_idx;
	bool started, enabled;
	bool broken;				/* the guest broke the ring's rules */
	int kick, call;				/* -1: none */
	unsigned generation;			/* of kick */
	struct vq_inflight *inflight;		/* NULL: nobody remembers */
	uint32_t inflight_num;			/* room in desc[] */
	uint64_t taken;				/* the next counter */
	/* chains that were taken before this process, in order */
	uint16_t again[VQ_MAX_SIZE];
	unsigned n_again, again_at;
};

struct vq_chain {
	uint16_t head;
	bool again;				/* it is not the next of the ring */
	/* device-readable bytes, copied; more than there was room for: out_bytes > out_room */
	void *out;
	size_t out_room;
	uint64_t out_bytes;
	unsigned n_in;
	struct {
		uint64_t gpa;
		uint32_t bytes;
	} in[VQ_MAX_IN];
	uint64_t in_bytes;			/* of in[] */
	const char *bad;			/* what is wrong with the chain, or NULL */
};

void vq_init(struct vq *q);
/* Find the ring in memory again; false when it is not there. */
bool vq_resolve(struct vq *q, const struct guest_memory *m);
static inline bool vq_runs(const struct vq *q)
{
	return q->started && q->enabled && q->desc && !q->broken;
}

/* Bytes of a struct vq_inflight for a ring of so many descriptors. */
static inline size_t vq_inflight_bytes(uint32_t num)
{
	return (sizeof(struct vq_inflight) + num * sizeof(struct vq_inflight_desc) + 63) &
	       ~(size_t)63;
}

/* The ring is about to run: find what was taken and not given back. False: that is not told. */
bool vq_recover(struct vq *q);
/* Nothing that was taken will be given back. */
void vq_forget(struct vq *q);

/*
 * Take the next chain: 1, 0 when there is none, -EPROTO when the ring is broken. c->out
 * and c->out_room are the caller's.
 */
int vq_pop(struct vq *q, const struct guest_memory *m, struct vq_chain *c);
/* A chain that was taken is in the ring again; the caller sets last_avail. */
void vq_untake(struct vq *q, const struct vq_chain *c);
/* There is a chain to take. */
bool vq_waits(const struct vq *q);
/* The guest is to kick at the next chain. True: there is one already. */
bool vq_want_kick(struct vq *q);
/* Write the response, when there is room for all of it, and give the chain back. */
void vq_push(struct vq *q, const struct guest_memory *m, const struct vq_chain *c,
		const void *response, uint32_t bytes);
/* Tell the guest, if it wants to be told, that chains came back since used_idx was `old`. */
void vq_notify(struct vq *q, uint16_t old);
void vq_close_fd(int *fd);

#endif
