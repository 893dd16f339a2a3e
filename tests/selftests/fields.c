// SPDX-License-Identifier: MIT
/*
 * Every field that user space fills in, wrong, one at a time, through both doors: the
 * ioctl and, where there is one, the io_uring command. Both must refuse it with the same
 * error; the argument without the fault must be taken by both.
 *
 * tests/selftests/fields.sh checks that no field of uapi/drm/linnet_accel.h is missing
 * here: WRONG() has a value that is refused, ANY() says that all values are good.
 */
#include "dev.h"

#include <stddef.h>

#define SIZE 8192

/* What the rows are about: the argument, or an element of an array that it names. */
enum base { ARGS, BINDING, SYNC };

struct row {
	const char *name;
	enum base base;
	unsigned int offset, bytes;
	uint64_t value;
	int error;
};

#define ROW(where, type, field, wrong, err) \
	{ #type "." #field, where, offsetof(struct drm_linnet_##type, field), \
	  sizeof(((struct drm_linnet_##type *)0)->field), wrong, err }
#define WRONG(type, field, wrong, err) ROW(ARGS, type, field, wrong, err)
#define ANY(type, field) ROW(ARGS, type, field, 0, 0)

#define NO 0x7fffffu		/* a number that nothing has */

static const struct row dev_query[] = {
	WRONG(dev_query, type, 1, EINVAL),
	WRONG(dev_query, size, 1 << 20, E2BIG),
	WRONG(dev_query, ptr, 8, EFAULT),
};

static const struct row bo_create[] = {
	WRONG(bo_create, size, 0, EINVAL),
	WRONG(bo_create, size, 4097, EINVAL),
	WRONG(bo_create, size, 1ull << 62, E2BIG),
	WRONG(bo_create, flags, 1, EINVAL),
	WRONG(bo_create, flags, 1u << 31, EINVAL),
};

static const struct row bo_info[] = {
	WRONG(bo_info, handle, 0, ENOENT),
	WRONG(bo_info, handle, NO, ENOENT),
};

static const struct row bo_mmap_offset[] = {
	WRONG(bo_mmap_offset, handle, NO, ENOENT),
	WRONG(bo_mmap_offset, flags, 1, EINVAL),
};

static const struct row bo_madvise[] = {
	WRONG(bo_madvise, handle, NO, ENOENT),
	WRONG(bo_madvise, madv, 2, EINVAL),
	WRONG(bo_madvise, madv, ~0u, EINVAL),
	WRONG(bo_madvise, reserved, 1, EINVAL),
};

static const struct row bo_wait[] = {
	WRONG(bo_wait, handle, NO, ENOENT),
	WRONG(bo_wait, flags, 1, EINVAL),
	WRONG(bo_wait, flags, 1u << 31, EINVAL),
	ANY(bo_wait, timeout_ns),
};

static const struct row ctx_create[] = {
	WRONG(ctx_create, priority, 3, EINVAL),
	WRONG(ctx_create, flags, 1, EINVAL),
	WRONG(ctx_create, reserved, 1, EINVAL),
};

static const struct row ctx_destroy[] = {
	WRONG(ctx_destroy, ctx, NO, ENOENT),
	WRONG(ctx_destroy, reserved, 1, EINVAL),
};

static const struct row attach[] = {
	WRONG(attach, ctx, NO, ENOENT),
	WRONG(attach, handle, NO, ENOENT),
	WRONG(attach, flags, 2, EINVAL),
	WRONG(attach, flags, 1u << 31, EINVAL),
};

static const struct row detach[] = {
	WRONG(detach, ctx, NO, ENOENT),
	WRONG(detach, attachment, 0, ENOENT),
	WRONG(detach, attachment, NO, ENOENT),
};

static const struct row stream_create[] = {
	WRONG(stream_create, ctx, NO, ENOENT),
	WRONG(stream_create, size, 0, EINVAL),
	WRONG(stream_create, size, ~7u, E2BIG),
	WRONG(stream_create, ptr, 8, EFAULT),
	WRONG(stream_create, flags, 1, EINVAL),
};

static const struct row stream_destroy[] = {
	WRONG(stream_destroy, ctx, NO, ENOENT),
	WRONG(stream_destroy, stream, 0, ENOENT),
	WRONG(stream_destroy, stream, NO, ENOENT),
};

static const struct row submit[] = {
	WRONG(submit, ctx, NO, ENOENT),
	WRONG(submit, stream, NO, ENOENT),
	WRONG(submit, flags, 4, EINVAL),
	WRONG(submit, flags, 1u << 31, EINVAL),
	WRONG(submit, n_params, 0, EINVAL),
	WRONG(submit, n_params, DRM_LINNET_MAX_PARAMS + 1, E2BIG),
	WRONG(submit, params[0], 4, EINVAL),
	WRONG(submit, params[7], 1, EINVAL),
	WRONG(submit, bindings.stride, 0, EINVAL),
	WRONG(submit, bindings.stride, 16, EINVAL),
	WRONG(submit, bindings.stride, 28, EINVAL),
	WRONG(submit, bindings.stride, 1 << 20, EINVAL),
	WRONG(submit, bindings.count, 0, EINVAL),
	WRONG(submit, bindings.count, DRM_LINNET_MAX_BINDINGS + 1, E2BIG),
	WRONG(submit, bindings.ptr, 0, EFAULT),
	WRONG(submit, bindings.ptr, 1ull << 63, EFAULT),
	WRONG(submit, syncs.stride, 0, EINVAL),
	WRONG(submit, syncs.stride, 8, EINVAL),
	WRONG(submit, syncs.stride, 20, EINVAL),
	WRONG(submit, syncs.stride, 1 << 20, EINVAL),
	WRONG(submit, syncs.count, 0, EINVAL),
	WRONG(submit, syncs.count, DRM_LINNET_MAX_SYNCS + 1, E2BIG),
	WRONG(submit, syncs.ptr, 0, EFAULT),
	ANY(submit, user_data),
	ROW(BINDING, binding, slot, 1, EINVAL),
	ROW(BINDING, binding, slot, ~0u, EINVAL),
	ROW(BINDING, binding, attachment, 0, ENOENT),
	ROW(BINDING, binding, attachment, NO, ENOENT),
	ROW(BINDING, binding, offset, SIZE - 15, EOVERFLOW),
	ROW(BINDING, binding, offset, ~0ull, EOVERFLOW),
	ROW(BINDING, binding, length, 0, EINVAL),
	ROW(BINDING, binding, length, SIZE + 1, EOVERFLOW),
	ROW(BINDING, binding, length, ~0ull, EOVERFLOW),
	ROW(SYNC, sync, handle, NO, ENOENT),
	ROW(SYNC, sync, flags, 0, EINVAL),
	ROW(SYNC, sync, flags, 3, EINVAL),
	ROW(SYNC, sync, flags, 4, EINVAL),
	ROW(SYNC, sync, point, 1 << 20, EINVAL),
};

static const struct row cancel[] = {
	WRONG(cancel, ctx, NO, ENOENT),
	WRONG(cancel, flags, 1, EINVAL),
	WRONG(cancel, job, NO, ENOENT),
};

/* Of the io_uring command itself; every command has these. */
static const struct row payload[] = {
	WRONG(uring_cmd, ptr, 8, EFAULT),
	WRONG(uring_cmd, size, 0, EINVAL),
	WRONG(uring_cmd, flags, 1, EINVAL),
	WRONG(uring_cmd, flags, 1u << 31, EINVAL),
};

union args {
	struct drm_linnet_dev_query dev_query;
	struct drm_linnet_bo_create bo_create;
	struct drm_linnet_bo_info bo_info;
	struct drm_linnet_bo_mmap_offset bo_mmap_offset;
	struct drm_linnet_bo_madvise bo_madvise;
	struct drm_linnet_bo_wait bo_wait;
	struct drm_linnet_ctx_create ctx_create;
	struct drm_linnet_ctx_destroy ctx_destroy;
	struct drm_linnet_attach attach;
	struct drm_linnet_detach detach;
	struct drm_linnet_stream_create stream_create;
	struct drm_linnet_stream_destroy stream_destroy;
	struct drm_linnet_submit submit;
	struct drm_linnet_cancel cancel;
	uint64_t more[16];
};

struct world {
	int fd;
	uint32_t ctx, bo, att, stream, slow, sync, size;
	uint64_t data[64];
	struct drm_linnet_dev_info info;
	struct sub job, blocker;
};

static struct world w;
static struct io_uring ring;

#define COMMAND(name, type, op) \
	{ #type, DRM_IOCTL_LINNET_##name, op, sizeof(struct drm_linnet_##type), type, \
	  ARRAY_SIZE(type) }

/* What takes things away comes last. */
static const struct command {
	const char *name;
	unsigned long request;
	uint32_t op, bytes;
	const struct row *row;
	unsigned int n;
} commands[] = {
	COMMAND(DEV_QUERY, dev_query, 0),
	COMMAND(BO_CREATE, bo_create, 0),
	COMMAND(BO_INFO, bo_info, 0),
	COMMAND(BO_MMAP_OFFSET, bo_mmap_offset, 0),
	COMMAND(BO_MADVISE, bo_madvise, 0),
	COMMAND(CTX_CREATE, ctx_create, 0),
	COMMAND(ATTACH, attach, 0),
	COMMAND(STREAM_CREATE, stream_create, 0),
	COMMAND(SUBMIT, submit, DRM_LINNET_URING_SUBMIT),
	COMMAND(BO_WAIT, bo_wait, DRM_LINNET_URING_BO_WAIT),
	COMMAND(CANCEL, cancel, DRM_LINNET_URING_CANCEL),
	COMMAND(DETACH, detach, 0),
	COMMAND(STREAM_DESTROY, stream_destroy, 0),
	COMMAND(CTX_DESTROY, ctx_destroy, 0),
};

static void make_world(void)
{
	struct sim s;

	w.fd = dev_open();
	w.ctx = dev_ctx(w.fd);
	w.bo = dev_bo(w.fd, SIZE);
	w.att = dev_attach(w.fd, w.ctx, w.bo);
	w.sync = dev_syncobj(w.fd);
	sim_init(&s, 1);
	s.n_params = 1;
	s.param[0].max = 3;
	sim_fill(&s, 0, 1, 16);
	w.size = sim_data(&s, w.data);
	w.stream = sim_create(w.fd, w.ctx, &s);
	w.slow = sim_simple(w.fd, w.ctx, DRM_LINNET_SIM_DELAY, 20000000);
	sub_init(&w.job, w.ctx, w.stream);
	sub_bind(&w.job, 0, w.att, 0, 16);
	sub_sync(&w.job, DRM_LINNET_SYNC_SIGNAL, w.sync, 1);
	/* a point that was never submitted cannot be waited for */
	sub_sync(&w.job, DRM_LINNET_SYNC_WAIT, dev_syncobj(w.fd), 0);
	w.job.args.syncs.count = 1;
	w.job.args.n_params = 1;
	sub_init(&w.blocker, w.ctx, w.slow);
}

static void good(const struct command *c, union args *a)
{
	memset(a, 0, sizeof(*a));
	switch (c->request) {
	case DRM_IOCTL_LINNET_DEV_QUERY:
		a->dev_query.size = sizeof(w.info);
		a->dev_query.ptr = (uintptr_t)&w.info;
		break;
	case DRM_IOCTL_LINNET_BO_CREATE: a->bo_create.size = SIZE; break;
	case DRM_IOCTL_LINNET_BO_INFO: a->bo_info.handle = w.bo; break;
	case DRM_IOCTL_LINNET_BO_MMAP_OFFSET: a->bo_mmap_offset.handle = w.bo; break;
	case DRM_IOCTL_LINNET_BO_MADVISE: a->bo_madvise.handle = w.bo; break;
	case DRM_IOCTL_LINNET_BO_WAIT:
		a->bo_wait.handle = w.bo;
		a->bo_wait.timeout_ns = FOREVER;
		break;
	case DRM_IOCTL_LINNET_CTX_CREATE: a->ctx_create.priority = 1; break;
	case DRM_IOCTL_LINNET_CTX_DESTROY: a->ctx_destroy.ctx = w.ctx; break;
	case DRM_IOCTL_LINNET_ATTACH:
		a->attach.ctx = w.ctx;
		a->attach.handle = w.bo;
		break;
	case DRM_IOCTL_LINNET_DETACH:
		a->detach.ctx = w.ctx;
		a->detach.attachment = w.att;
		break;
	case DRM_IOCTL_LINNET_STREAM_CREATE:
		a->stream_create.ctx = w.ctx;
		a->stream_create.size = w.size;
		a->stream_create.ptr = (uintptr_t)w.data;
		break;
	case DRM_IOCTL_LINNET_STREAM_DESTROY:
		a->stream_destroy.ctx = w.ctx;
		a->stream_destroy.stream = w.stream;
		break;
	case DRM_IOCTL_LINNET_SUBMIT: a->submit = w.job.args; break;
	case DRM_IOCTL_LINNET_CANCEL:
		a->cancel.ctx = w.ctx;
		a->cancel.job = w.blocker.args.job;
		break;
	}
}

static int by_ioctl(const struct command *c, union args *a)
{
	return dev_ioctl(w.fd, c->request, a) ? errno : 0;
}

static int by_uring(const struct command *c, union args *a, const struct row *fault)
{
	struct io_uring_sqe *sqe = dev_prep(&ring, w.fd, c->op, a, c->bytes);
	struct io_uring_cqe *cqe;
	int ret;

	if (fault)
		memcpy((char *)sqe->cmd + fault->offset, &fault->value, fault->bytes);
	CHECK_EQ(io_uring_submit_and_wait(&ring, 1), 1);
	CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
	ret = -cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	return ret;
}

static void check(const struct command *c, const struct row *r, const char *door, int got)
{
	if (got != r->error)
		test_leave(1, "%s = 0x%llx by %s of %s: errno %d, not %d", r->name,
			   (unsigned long long)r->value, door, c->name, got, r->error);
}

/* The argument of the command with the fault of the row. */
static void bad(const struct command *c, const struct row *r, union args *a)
{
	void *base = a;

	good(c, a);
	if (r->base == BINDING)
		base = &w.job.binding[0];
	if (r->base == SYNC) {
		base = &w.job.sync[0];
		if (r->offset == offsetof(struct drm_linnet_sync, point))
			w.job.sync[0].flags = DRM_LINNET_SYNC_WAIT;
	}
	if (r->error)
		memcpy((char *)base + r->offset, &r->value, r->bytes);
}

static void all_faults(const struct command *c)
{
	const struct sub was = w.job;
	union args a;
	unsigned int i;

	for (i = 0; i < c->n; i++) {
		const struct row *r = &c->row[i];

		if (!r->error)
			continue;
		bad(c, r, &a);
		check(c, r, "ioctl", by_ioctl(c, &a));
		if (c->op) {
			bad(c, r, &a);
			check(c, r, "io_uring", by_uring(c, &a, NULL));
		}
		w.job = was;
	}
	for (i = 0; c->op && i < ARRAY_SIZE(payload); i++) {
		good(c, &a);
		check(c, &payload[i], "io_uring", by_uring(c, &a, &payload[i]));
	}
}

/* Without a fault the command succeeds. */
static void no_fault(const struct command *c, bool uring)
{
	const struct row none = { "nothing" };
	union args a;

	if (c->request == DRM_IOCTL_LINNET_CANCEL)
		CHECK_EQ(dev_submit_(w.fd, &w.blocker.args), 0);
	good(c, &a);
	check(c, &none, uring ? "io_uring" : "ioctl",
	      uring ? by_uring(c, &a, NULL) : by_ioctl(c, &a));
	if (c->request == DRM_IOCTL_LINNET_SUBMIT || c->request == DRM_IOCTL_LINNET_CANCEL)
		CHECK_EQ(dev_wait_(w.fd, w.bo, FOREVER), 0);
}

TEST(each_field)
{
	unsigned int i;

	CHECK_EQ(io_uring_queue_init(8, &ring, 0), 0);
	make_world();
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		all_faults(&commands[i]);
		if (commands[i].op)
			no_fault(&commands[i], true);
		no_fault(&commands[i], false);
	}
}

TEST_MAIN
