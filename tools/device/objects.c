// SPDX-License-Identifier: MIT
/*
 * Contexts, resources and streams, and the control requests that make and end them.
 * A request has been copied from the guest: it cannot change any more.
 */
#include "device.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

_Static_assert(VIRTIO_LINNET_MAX_PARAMS == LINNET_MAX_PARAMS, "parameters");
_Static_assert(VIRTIO_LINNET_MAX_BINDINGS == LINNET_MAX_SLOTS, "slots");

typedef struct virtio_linnet_response response;

static response status(enum virtio_linnet_status s)
{
	return (response){ .status = htole32(s) };
}

/* Memory here that the guest's objects take. */
static bool charge(struct device *d, uint64_t bytes)
{
	if (bytes > d->opts.memory - d->used_bytes)
		return false;
	d->used_bytes += bytes;
	return true;
}

/* A request in pieces: what has been looked at, and what is left. */
struct request {
	struct virtio_linnet_head head;
	const char *at;
	size_t left;
};

static bool take(struct request *r, void *dst, size_t n)
{
	if (r->left < n)
		return false;
	memcpy(dst, r->at, n);
	r->at += n;
	r->left -= n;
	return true;
}

/* -------------------------------------------------------------- contexts */

static void resource_free(struct device *d, struct device_resource *r)
{
	if (!r)
		return;
	munmap(r->reserved, r->reserved_bytes);
	d->n_maps -= r->n_maps;
	d->used_bytes -= sizeof(*r);
	free(r);
}

static void stream_free(struct device *d, struct device_stream *s)
{
	if (!s)
		return;
	d->used_bytes -= s->cost;
	linnet_stream_free(s->s);
	free(s->data);
	free(s);
}

static void ctx_free(struct device *d, uint32_t n)
{
	struct device_ctx *ctx = d->ctx[n];

	if (!ctx)
		return;
	d->ctx[n] = NULL;
	for (unsigned i = 0; i < DEVICE_MAX_RESOURCES; i++)
		resource_free(d, ctx->resource[i]);
	for (unsigned i = 0; i < DEVICE_MAX_STREAMS; i++)
		stream_free(d, ctx->stream[i]);
	d->used_bytes -= sizeof(*ctx);
	free(ctx);
}

void device_objects_clear(struct device *d)
{
	for (unsigned i = 0; i < DEVICE_MAX_CONTEXTS; i++)
		ctx_free(d, i);
	d->used_bytes -= d->scratch_charged;
	d->scratch_charged = 0;
	if (d->scratch)
		munmap(d->scratch, d->scratch_bytes);
	d->scratch = NULL;
	d->scratch_bytes = 0;
}

static response ctx_create(struct device *d, struct request *r, uint32_t n)
{
	struct device_ctx *ctx;
	uint32_t rest[2];

	if (!take(r, rest, sizeof(rest)) || r->left || rest[0] || rest[1] || r->head.id)
		return status(VIRTIO_LINNET_S_INVALID);
	if (n >= DEVICE_MAX_CONTEXTS)
		return status(VIRTIO_LINNET_S_NOENT);
	if (d->ctx[n])
		return status(VIRTIO_LINNET_S_EXIST);
	if (!charge(d, sizeof(*ctx)))
		return status(VIRTIO_LINNET_S_NOMEM);
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx) {
		d->used_bytes -= sizeof(*ctx);
		return status(VIRTIO_LINNET_S_NOMEM);
	}
	pthread_mutex_lock(&d->lock);
	d->ctx[n] = ctx;
	pthread_mutex_unlock(&d->lock);
	return status(VIRTIO_LINNET_S_OK);
}

static response ctx_destroy(struct device *d, struct request *r, uint32_t n)
{
	if (r->left || r->head.id)
		return status(VIRTIO_LINNET_S_INVALID);
	pthread_mutex_lock(&d->lock);
	device_jobs_cancel_ctx(d, n);
	if (d->opts.verbose)
		device_say(d, "context %u: %llu jobs took %.3f ms", n,
			   (unsigned long long)d->ctx[n]->n_jobs, (double)d->ctx[n]->ns / 1e6);
	ctx_free(d, n);
	pthread_mutex_unlock(&d->lock);
	return status(VIRTIO_LINNET_S_OK);
}

/* ------------------------------------------------------------- resources */

/*
 * What a request may take to put a guest's memory in huge pages: copying some gigabytes.
 * The driver waits for it, and jobs are executed meanwhile.
 */
#define HUGE_NS 2000000000ull

static bool entry_is_bad(const struct virtio_linnet_entry *e)
{
	return !e->length || e->addr % VIRTIO_LINNET_ENTRY_ALIGN ||
	       e->length % VIRTIO_LINNET_ENTRY_ALIGN || e->reserved;
}

/*
 * The next piece of the guest's memory: entries that are neighbours there are one. False
 * when there is none, or *bad.
 */
static bool next_piece(struct request *r, uint64_t *gpa, uint64_t *bytes, bool *bad)
{
	struct virtio_linnet_entry e;
	struct request ahead = *r;

	*bytes = 0;
	while (take(&ahead, &e, sizeof(e))) {
		e.addr = le64toh(e.addr);
		e.length = le32toh(e.length);
		*bad = entry_is_bad(&e);
		if (*bad || (*bytes && e.addr != *gpa + *bytes))
			break;
		if (!*bytes)
			*gpa = e.addr;
		*bytes += e.length;
		*r = ahead;
	}
	return *bytes && !*bad;
}

/* Map the n entries that make up the rest of the request. Changes nothing when it fails. */
static response map_entries(struct device *d, struct request *r, struct device_resource *res,
			    uint32_t id, uint32_t n)
{
	struct request again = *r;
	uint64_t gpa, bytes, filled = res->filled, until;
	unsigned n_maps = 0;
	bool bad = r->left != (uint64_t)n * sizeof(struct virtio_linnet_entry);
	int ret = 0;

	while (!bad && !ret && next_piece(r, &gpa, &bytes, &bad)) {
		bad = bytes > res->bytes - filled;
		if (bad)
			break;
		ret = n_maps < d->max_maps - d->n_maps ?
		      guest_map(&d->memory, res->at + filled, gpa, bytes, res->read_only, &n_maps) :
		      -ENOMEM;
		filled += bytes;
	}
	if (bad || ret)
		goto err_unmap;
	until = device_now_ns() + HUGE_NS;
	for (filled = res->filled; next_piece(&again, &gpa, &bytes, &bad); filled += bytes)
		res->huge_bytes += guest_make_huge(&d->memory, res->at + filled, gpa, bytes, until);
	res->n_maps += n_maps;
	d->n_maps += n_maps;
	if (d->opts.verbose && filled == res->bytes)
		device_say(d, "resource %u: %llu KiB in %u pieces, %llu KiB in huge pages", id,
			   (unsigned long long)filled >> 10, res->n_maps - 1,
			   (unsigned long long)res->huge_bytes >> 10);
	/* jobs look at it, and take the resource when it is full */
	pthread_mutex_lock(&d->lock);
	res->filled = filled;
	pthread_mutex_unlock(&d->lock);
	return status(VIRTIO_LINNET_S_OK);

err_unmap:
	/* what was mapped is memory of no one again */
	if (res->bytes > res->filled &&
	    mmap(res->at + res->filled, res->bytes - res->filled, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		device_say(d, "a resource cannot be unmapped: %s", strerror(errno));
	if (bad)
		return status(VIRTIO_LINNET_S_INVALID);
	if (ret == -ENOMEM)
		device_say(d, "a resource is in too many pieces (%u mappings are possible)",
			   d->max_maps);
	else if (ret == -EINVAL)
		device_say(d, "a part of the guest's memory cannot be mapped (is it of hugetlbfs?)");
	return status(ret == -EFAULT ? VIRTIO_LINNET_S_ADDRESS : VIRTIO_LINNET_S_NOMEM);
}

/*
 * Reserve addresses for a resource: where the largest piece of the guest's memory, of those
 * in the request, can be mapped by huge pages.
 */
static bool reserve(const struct device *d, const struct request *r, struct device_resource *res)
{
	const uint64_t room = res->bytes < GUEST_HUGE_PAGE ? 0 : GUEST_HUGE_PAGE;
	uint64_t gpa, bytes, at = 0, largest = 0, place = 0;
	struct request pieces = *r;
	bool bad = false;

	for (; room && next_piece(&pieces, &gpa, &bytes, &bad); at += bytes) {
		if (bytes <= largest)
			continue;
		largest = bytes;
		place = guest_place(&d->memory, gpa) - at;
	}
	res->reserved_bytes = res->bytes + room;
	res->reserved = mmap(NULL, res->reserved_bytes, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (res->reserved == MAP_FAILED)
		return false;
	res->at = res->reserved;
	if (room)
		res->at += (place - (uintptr_t)res->reserved) % GUEST_HUGE_PAGE;
	return true;
}

static response resource_attach(struct device *d, struct request *r, struct device_ctx *ctx,
				uint32_t id)
{
	struct { uint64_t bytes; uint32_t flags, n; } fields;
	struct device_resource *res;
	response ret;

	if (!take(r, &fields, sizeof(fields)))
		return status(VIRTIO_LINNET_S_INVALID);
	fields.bytes = le64toh(fields.bytes);
	fields.flags = le32toh(fields.flags);
	if (!fields.bytes || fields.bytes % VIRTIO_LINNET_ENTRY_ALIGN ||
	    fields.flags & ~VIRTIO_LINNET_ATTACH_READ_ONLY)
		return status(VIRTIO_LINNET_S_INVALID);
	if (id >= DEVICE_MAX_RESOURCES)
		return status(VIRTIO_LINNET_S_NOENT);
	if (ctx->resource[id])
		return status(VIRTIO_LINNET_S_EXIST);
	if (fields.bytes > DEVICE_MAX_RESOURCE)
		return status(VIRTIO_LINNET_S_NOMEM);
	if (fields.bytes > d->memory.bytes)
		return status(VIRTIO_LINNET_S_ADDRESS);
	if (d->n_maps >= d->max_maps || !charge(d, sizeof(*res)))
		return status(VIRTIO_LINNET_S_NOMEM);
	res = calloc(1, sizeof(*res));
	if (!res)
		goto err_charge;
	res->bytes = fields.bytes;
	res->read_only = fields.flags & VIRTIO_LINNET_ATTACH_READ_ONLY;
	res->n_maps = 1;
	/* one range of addresses: pieces of the guest's memory are mapped into it */
	if (!reserve(d, r, res))
		goto err_free;
	d->n_maps++;
	ret = map_entries(d, r, res, id, le32toh(fields.n));
	if (ret.status) {
		resource_free(d, res);
		return ret;
	}
	pthread_mutex_lock(&d->lock);
	ctx->resource[id] = res;
	pthread_mutex_unlock(&d->lock);
	return ret;

err_free:
	free(res);
err_charge:
	d->used_bytes -= sizeof(*res);
	return status(VIRTIO_LINNET_S_NOMEM);
}

static response resource_add(struct device *d, struct request *r, struct device_ctx *ctx,
			     uint32_t id)
{
	struct { uint32_t n, reserved; } fields;
	struct device_resource *res;

	if (!take(r, &fields, sizeof(fields)) || fields.reserved)
		return status(VIRTIO_LINNET_S_INVALID);
	res = id < DEVICE_MAX_RESOURCES ? ctx->resource[id] : NULL;
	if (!res)
		return status(VIRTIO_LINNET_S_NOENT);
	return map_entries(d, r, res, id, le32toh(fields.n));
}

static response resource_detach(struct device *d, struct request *r, struct device_ctx *ctx,
				uint32_t id)
{
	struct device_resource *res = id < DEVICE_MAX_RESOURCES ? ctx->resource[id] : NULL;
	bool busy;

	if (r->left)
		return status(VIRTIO_LINNET_S_INVALID);
	if (!res)
		return status(VIRTIO_LINNET_S_NOENT);
	pthread_mutex_lock(&d->lock);
	busy = res->busy;
	if (!busy)
		ctx->resource[id] = NULL;
	pthread_mutex_unlock(&d->lock);
	if (busy)
		return status(VIRTIO_LINNET_S_BUSY);
	resource_free(d, res);
	return status(VIRTIO_LINNET_S_OK);
}

/* --------------------------------------------------------------- streams */

/*
 * What a stream takes here for certain: its bytes, and what validation makes of them. A
 * stream of n bytes has fewer than n / 40 operations.
 */
static size_t stream_cost(uint32_t bytes)
{
	return sizeof(struct device_stream) + sizeof(struct linnet_stream) + bytes +
	       bytes / sizeof(struct linnet_stream_op) * sizeof(struct linnet_op);
}

/* Append the rest of the request; the last byte makes it a stream. */
static response stream_fill(struct device *d, struct request *r, struct device_stream *s)
{
	struct linnet_stream_error why = { 0, 0, "out of memory" };
	struct linnet_stream *parsed;
	response ret;
	size_t n = r->left, scratch;
	int err;

	if (s->s || !n || n > s->bytes - s->filled)
		return status(VIRTIO_LINNET_S_INVALID);
	take(r, s->data + s->filled, n);
	s->filled += n;
	if (s->filled < s->bytes)
		return status(VIRTIO_LINNET_S_OK);
	err = linnet_stream_parse(&parsed, s->data, s->bytes, &why);
	if (err) {
		device_say(d, "a stream was refused: operation %d, operand %d: %s", why.op,
			   why.operand, why.what);
		ret = status(err == -ENOMEM ? VIRTIO_LINNET_S_NOMEM :
			     err == -ENOTSUP ? VIRTIO_LINNET_S_UNSUPPORTED :
					       VIRTIO_LINNET_S_STREAM);
		ret.op = htole32((uint32_t)why.op);
		ret.operand = htole32((uint32_t)why.operand);
		return ret;
	}
	scratch = linnet_exec_scratch(parsed, &d->kernels, d->opts.n_threads);
	/* jobs share one scratch, as large as the neediest stream wants it */
	if (scratch > d->scratch_charged && charge(d, scratch - d->scratch_charged)) {
		d->scratch_charged = scratch;
	} else if (scratch > d->scratch_charged) {
		device_say(d, "a stream would need %zu bytes of scratch (--memory, %llu)", scratch,
			   (unsigned long long)d->opts.memory);
		linnet_stream_free(parsed);
		return status(VIRTIO_LINNET_S_NOMEM);
	}
	free(s->data);
	s->data = NULL;
	s->scratch = scratch;
	pthread_mutex_lock(&d->lock);
	s->s = parsed;
	pthread_mutex_unlock(&d->lock);
	return status(VIRTIO_LINNET_S_OK);
}

static response stream_create(struct device *d, struct request *r, struct device_ctx *ctx,
			      uint32_t id)
{
	struct { uint32_t bytes, reserved; } fields;
	struct device_stream *s;
	response ret;
	size_t cost;

	if (!take(r, &fields, sizeof(fields)) || fields.reserved)
		return status(VIRTIO_LINNET_S_INVALID);
	fields.bytes = le32toh(fields.bytes);
	if (!fields.bytes)
		return status(VIRTIO_LINNET_S_INVALID);
	if (id >= DEVICE_MAX_STREAMS)
		return status(VIRTIO_LINNET_S_NOENT);
	if (ctx->stream[id])
		return status(VIRTIO_LINNET_S_EXIST);
	if (fields.bytes > DEVICE_MAX_STREAM_BYTES)
		return status(VIRTIO_LINNET_S_NOMEM);
	cost = stream_cost(fields.bytes);
	if (!charge(d, cost))
		return status(VIRTIO_LINNET_S_NOMEM);
	s = calloc(1, sizeof(*s));
	if (!s || !(s->data = malloc(fields.bytes))) {
		free(s);
		d->used_bytes -= cost;
		return status(VIRTIO_LINNET_S_NOMEM);
	}
	s->bytes = fields.bytes;
	s->cost = cost;
	ret = stream_fill(d, r, s);
	if (ret.status) {
		stream_free(d, s);
		return ret;
	}
	pthread_mutex_lock(&d->lock);
	ctx->stream[id] = s;
	pthread_mutex_unlock(&d->lock);
	return ret;
}

/* A stream that is refused at its last bytes is gone. */
static response stream_add(struct device *d, struct request *r, struct device_ctx *ctx, uint32_t id)
{
	struct device_stream *s = id < DEVICE_MAX_STREAMS ? ctx->stream[id] : NULL;
	response ret;

	if (!s)
		return status(VIRTIO_LINNET_S_NOENT);
	ret = stream_fill(d, r, s);
	if (ret.status && !s->s && s->filled == s->bytes) {
		pthread_mutex_lock(&d->lock);
		ctx->stream[id] = NULL;
		pthread_mutex_unlock(&d->lock);
		stream_free(d, s);
	}
	return ret;
}

static response stream_destroy(struct device *d, struct request *r, struct device_ctx *ctx,
			       uint32_t id)
{
	struct device_stream *s = id < DEVICE_MAX_STREAMS ? ctx->stream[id] : NULL;
	bool busy;

	if (r->left)
		return status(VIRTIO_LINNET_S_INVALID);
	if (!s)
		return status(VIRTIO_LINNET_S_NOENT);
	pthread_mutex_lock(&d->lock);
	busy = s->busy;
	if (!busy)
		ctx->stream[id] = NULL;
	pthread_mutex_unlock(&d->lock);
	if (busy)
		return status(VIRTIO_LINNET_S_BUSY);
	stream_free(d, s);
	return status(VIRTIO_LINNET_S_OK);
}

/* -------------------------------------------------------------- requests */

/* Everything ends, as if the driver had just begun. */
static response reset(struct device *d, struct request *r)
{
	if (r->left || r->head.ctx || r->head.id)
		return status(VIRTIO_LINNET_S_INVALID);
	pthread_mutex_lock(&d->lock);
	device_jobs_cancel_all(d);
	device_objects_clear(d);
	pthread_mutex_unlock(&d->lock);
	return status(VIRTIO_LINNET_S_OK);
}

static response job_cancel(struct device *d, struct request *r, uint32_t ctx)
{
	uint64_t job;
	bool found;

	if (!take(r, &job, sizeof(job)) || r->left || r->head.id)
		return status(VIRTIO_LINNET_S_INVALID);
	pthread_mutex_lock(&d->lock);
	found = device_job_cancel(d, ctx, le64toh(job));
	pthread_mutex_unlock(&d->lock);
	return status(found ? VIRTIO_LINNET_S_OK : VIRTIO_LINNET_S_NOENT);
}

response device_request(struct device *d, const void *request, size_t n)
{
	struct request r = { .at = request, .left = n };
	struct device_ctx *ctx;
	uint32_t type, number, id;

	if (!take(&r, &r.head, sizeof(r.head)))
		return status(VIRTIO_LINNET_S_INVALID);
	type = le32toh(r.head.type);
	number = le32toh(r.head.ctx);
	id = le32toh(r.head.id);
	if (r.head.reserved)
		return status(VIRTIO_LINNET_S_INVALID);
	if (type == VIRTIO_LINNET_RESET)
		return reset(d, &r);
	if (type == VIRTIO_LINNET_CTX_CREATE)
		return ctx_create(d, &r, number);
	ctx = number < DEVICE_MAX_CONTEXTS ? d->ctx[number] : NULL;
	switch (type) {
	case VIRTIO_LINNET_CTX_DESTROY:
		return ctx ? ctx_destroy(d, &r, number) : status(VIRTIO_LINNET_S_NOENT);
	case VIRTIO_LINNET_RESOURCE_ATTACH:
		return ctx ? resource_attach(d, &r, ctx, id) : status(VIRTIO_LINNET_S_NOENT);
	case VIRTIO_LINNET_RESOURCE_ADD:
		return ctx ? resource_add(d, &r, ctx, id) : status(VIRTIO_LINNET_S_NOENT);
	case VIRTIO_LINNET_RESOURCE_DETACH:
		return ctx ? resource_detach(d, &r, ctx, id) : status(VIRTIO_LINNET_S_NOENT);
	case VIRTIO_LINNET_STREAM_CREATE:
		return ctx ? stream_create(d, &r, ctx, id) : status(VIRTIO_LINNET_S_NOENT);
	case VIRTIO_LINNET_STREAM_ADD:
		return ctx ? stream_add(d, &r, ctx, id) : status(VIRTIO_LINNET_S_NOENT);
	case VIRTIO_LINNET_STREAM_DESTROY:
		return ctx ? stream_destroy(d, &r, ctx, id) : status(VIRTIO_LINNET_S_NOENT);
	case VIRTIO_LINNET_JOB_CANCEL:
		return ctx ? job_cancel(d, &r, number) : status(VIRTIO_LINNET_S_NOENT);
	}
	return status(VIRTIO_LINNET_S_UNSUPPORTED);
}
