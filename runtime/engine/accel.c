// SPDX-License-Identifier: MIT
/*
 * The accel engine: streams run in a Linnet device, through /dev/accel/accelN and the
 * driver (uapi/drm/linnet_accel.h).
 *
 * One context of the device is one engine: its jobs run in the order of submission.
 * Regions are buffers of the driver, mapped here and attached to the context, so reads
 * go straight to where the device computes. A stream is given to the driver once. A job
 * is a command on the queue's own io_uring; its completion is the job's end, so weights
 * and jobs are waited for together.
 */
#include "engine.h"

#include "runtime/util/error.h"

#include <errno.h>

#ifdef LINNET_HAVE_LIBDRM

#include "check.h"
#include "runtime/memory/share.h"
#include "runtime/util/overflow.h"

#include <drm/linnet_accel.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xf86drm.h>

#define MAX_NODES 64
#define HUGE_PAGE ((size_t)2 << 20)
#define PAGE ((size_t)4096)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

_Static_assert(LINNET_MAX_PARAMS == DRM_LINNET_MAX_PARAMS, "parameters of a job");
_Static_assert(LINNET_MAX_SLOTS <= DRM_LINNET_MAX_BINDINGS, "bindings of a job");

struct linnet_engine_stream {
	struct linnet_stream *s;
	uint32_t id;
};

/* A buffer, and where it is in its region. */
struct piece {
	size_t at, bytes;
	uint32_t handle, attachment;	/* 0: idle */
};

struct accel_region {
	struct linnet_region base;
	enum linnet_pages pages;
	struct piece *piece;		/* by place */
	size_t n_pieces;
};

/* A job that the driver has. */
struct flight {
	struct linnet_read request;
	struct linnet_command command;
	struct drm_linnet_submit submit;
	struct drm_linnet_binding binding[LINNET_MAX_SLOTS];
	struct linnet_job *job;
	struct flight *next_free;
	bool cancelled;
};

struct accel {
	struct linnet_engine base;
	struct linnet_queue *queue;
	struct drm_linnet_dev_info info;
	char path[32];
	uint64_t device;
	int fd;
	int looker;		/* a file to look through at what others send; -1 */
	uint32_t ctx;
	unsigned n_flights, max_flights;
	struct flight *free;
	struct linnet_job *first, **last;	/* wait for room in the driver */
	struct flight flight[LINNET_QUEUE_COMMANDS];
};

static struct accel *to_accel(struct linnet_engine *e)
{
	return (struct accel *)e;
}

static struct accel_region *to_region(const struct linnet_region *r)
{
	return (struct accel_region *)r;
}

/* Number of the first piece that begins behind `at`. */
static size_t piece_behind(const struct accel_region *r, size_t at)
{
	size_t low = 0, high = r->n_pieces;

	while (low < high) {
		const size_t mid = low + (high - low) / 2;

		if (r->piece[mid].at > at)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* The piece that has all of this; NULL: none. */
static struct piece *find_piece(const struct linnet_region *region, size_t at, size_t bytes)
{
	const struct accel_region *r = to_region(region);
	const size_t i = piece_behind(r, at);
	struct piece *p = i ? &r->piece[i - 1] : NULL;

	return p && at - p->at <= p->bytes && bytes <= p->bytes - (at - p->at) ? p : NULL;
}

/* ------------------------------------------------------------ finding a device */

/* Open a node if it is a Linnet device's: a file, or -errno (-ENODEV: of another driver). */
static int open_node(const char *path)
{
	drmVersion *version;
	int fd = open(path, O_RDWR | O_CLOEXEC), ret = -ENODEV;

	if (fd < 0)
		return -errno;
	version = drmGetVersion(fd);
	if (version && version->name && !strcmp(version->name, "linnet"))
		ret = version->version_major == DRM_LINNET_MAJOR ? fd : -EPROTO;
	drmFreeVersion(version);
	if (ret < 0)
		close(fd);
	return ret;
}

static int query(int fd, struct drm_linnet_dev_info *info)
{
	struct drm_linnet_dev_query q = {
		.type = DRM_LINNET_QUERY_DEV_INFO,
		.size = sizeof(*info),
		.ptr = (uintptr_t)info,
	};

	memset(info, 0, sizeof(*info));
	if (drmIoctl(fd, DRM_IOCTL_LINNET_DEV_QUERY, &q))
		return -errno;
	info->isa[sizeof(info->isa) - 1] = '\0';
	return 0;
}

/* What keeps a device from running models, or NULL. */
static const char *unfit(const struct drm_linnet_dev_info *info)
{
	if (info->stream_magic != LINNET_STREAM_MAGIC)
		return "it is a simulation that runs no models";
	if (!(info->features & DRM_LINNET_FEATURE_URING))
		return "its driver takes no jobs from io_uring";
	if (info->max_bindings < LINNET_MAX_SLOTS || info->max_params < LINNET_MAX_PARAMS ||
	    !info->max_jobs)
		return "its limits are below what models need";
	return NULL;
}

#define VERSION_MESSAGE "the driver's interface has another version"

int linnet_device_info(unsigned n, struct linnet_device_info *info)
{
	struct linnet_device_info full = { .size = info->size };
	struct drm_linnet_dev_info dev;
	const char *why;
	int fd = -ENOENT;

	if (info->size < sizeof(info->size))
		return -EINVAL;
	for (int i = 0; i < MAX_NODES; i++) {
		snprintf(full.path, sizeof(full.path), "/dev/accel/accel%d", i);
		fd = open_node(full.path);
		if (fd == -ENOENT || fd == -ENODEV)
			continue;
		if (!n--)
			break;
		if (fd >= 0)
			close(fd);
		fd = -ENOENT;
	}
	if (fd == -ENOENT || fd == -ENODEV)
		return -ENOENT;
	if (fd < 0) {
		why = fd == -EPROTO ? VERSION_MESSAGE : strerror(-fd);
	} else {
		int ret = query(fd, &dev);

		close(fd);
		why = ret ? strerror(-ret) : unfit(&dev);
		if (!ret) {
			full.n_threads = dev.n_threads;
			full.max_region_bytes = dev.max_bo_bytes;
			snprintf(full.isa, sizeof(full.isa), "%s", dev.isa);
		}
	}
	full.usable = !why;
	snprintf(full.note, sizeof(full.note), "%s", why ? why : "");
	memcpy(info, &full, info->size < sizeof(full) ? info->size : sizeof(full));
	return 0;
}

/* Open the first device that is fit. */
static int find_device(struct accel *a, struct linnet_error *err)
{
	int found = linnet_err(err, -ENODEV, "there is no Linnet device (/dev/accel)");

	for (int i = 0; i < MAX_NODES; i++) {
		const char *why;
		struct stat st;
		int fd, ret;

		snprintf(a->path, sizeof(a->path), "/dev/accel/accel%d", i);
		fd = open_node(a->path);
		if (fd == -EPROTO)
			found = linnet_err(err, fd, "%s: %s", a->path, VERSION_MESSAGE);
		else if (fd < 0 && fd != -ENOENT && fd != -ENODEV)
			found = linnet_err(err, fd, "%s: %s", a->path, strerror(-fd));
		if (fd < 0)
			continue;
		ret = fstat(fd, &st) ? -errno : query(fd, &a->info);
		why = ret ? strerror(-ret) : unfit(&a->info);
		if (!why) {
			a->fd = fd;
			a->device = st.st_rdev;
			return 0;
		}
		found = linnet_err(err, ret ? ret : -ENODEV, "%s: %s", a->path, why);
		close(fd);
	}
	return found;
}

/* ---------------------------------------------------------------------- jobs */

static void flight_done(struct linnet_read *r, int result);

/* Hand a job to the driver; the caller knows that there is room. */
static int launch(struct accel *a, struct linnet_job *job)
{
	struct flight *f = a->free;
	int ret;

	f->job = job;
	f->cancelled = false;
	f->submit = (struct drm_linnet_submit){
		.ctx = a->ctx,
		.stream = job->stream->id,
		.n_params = job->stream->s->n_params,
		.bindings = { sizeof(f->binding[0]), job->n_bindings, (uintptr_t)f->binding },
		.user_data = (uintptr_t)&f->request,
	};
	memcpy(f->submit.params, job->params, job->stream->s->n_params * sizeof(job->params[0]));
	for (uint32_t i = 0; i < job->n_bindings; i++) {
		const struct linnet_binding *b = &job->binding[i];
		const struct piece *p = find_piece(b->region, b->offset, b->bytes);

		if (!p)
			return -EINVAL;
		f->binding[i] = (struct drm_linnet_binding){
			.slot = b->slot,
			.attachment = p->attachment,
			.offset = b->offset - p->at,
			.length = b->bytes,
		};
	}
	f->command = (struct linnet_command){
		.op = DRM_LINNET_URING_SUBMIT,
		.payload = { (uintptr_t)&f->submit, sizeof(f->submit), 0 },
	};
	f->request.fd = a->fd;
	f->request.done = flight_done;
	f->request.ctx = f;
	f->request.owner = a;
	ret = linnet_queue_command(a->queue, &f->request, &f->command);
	if (ret) {
		f->job = NULL;
		return ret;
	}
	a->free = f->next_free;
	a->n_flights++;
	return 0;
}

/* Launch what waits. Called from a poll or wait of the queue, where jobs may end. */
static void launch_all(struct accel *a)
{
	while (a->first && a->n_flights < a->max_flights) {
		struct linnet_job *job = a->first;
		int ret;

		a->first = job->next;
		if (!a->first)
			a->last = &a->first;
		ret = job->interrupt && *job->interrupt ? -EINTR : launch(a, job);
		if (ret)
			job->done(job, ret);
	}
}

static void flight_done(struct linnet_read *r, int result)
{
	struct flight *f = r->ctx;
	struct accel *a = r->owner;
	struct linnet_job *job = f->job;

	f->job = NULL;
	f->next_free = a->free;
	a->free = f;
	a->n_flights--;
	if (result == -ECANCELED && f->cancelled)
		result = -EINTR;
	job->failed_op = LINNET_OP_UNKNOWN;
	job->done(job, result);
	launch_all(a);
}

/*
 * The queue's worker has no work to do; it runs before the queue sleeps, which is when
 * jobs that are not wanted any more have to be cancelled.
 */
static bool cancel_unwanted(void *ctx)
{
	struct accel *a = ctx;

	for (unsigned i = 0; a->n_flights && i < a->max_flights; i++) {
		struct flight *f = &a->flight[i];
		struct drm_linnet_cancel cancel = { .ctx = a->ctx };

		/* written by the driver when it accepted the job */
		cancel.job = __atomic_load_n(&f->submit.job, __ATOMIC_RELAXED);
		if (!f->job || f->cancelled || !cancel.job || !f->job->interrupt ||
		    !*f->job->interrupt)
			continue;
		f->cancelled = true;
		/* one that has ended needs no cancelling */
		drmIoctl(a->fd, DRM_IOCTL_LINNET_CANCEL, &cancel);
	}
	return false;
}

static int accel_submit(struct linnet_engine *e, struct linnet_job *job)
{
	struct accel *a = to_accel(e);
	int ret = linnet_job_check(job->stream->s, job);

	if (ret)
		return ret;
	if (!a->first && a->n_flights < a->max_flights)
		return launch(a, job);
	job->next = NULL;
	*a->last = job;
	a->last = &job->next;
	return 0;
}

/* -------------------------------------------------------------------- regions */

/*
 * Ask for huge pages in a buffer without pages, and take them if the system gives any. If it
 * gives none, nothing more is done: tables of this mapping would come between small pages,
 * which the device maps better where they lie side by side.
 */
static bool take_huge_pages(char *addr, size_t bytes)
{
	unsigned char there = 0;

	if (madvise(addr, bytes, MADV_HUGEPAGE))
		return false;
	if (!madvise(addr, PAGE, MADV_POPULATE_WRITE) &&
	    !mincore(addr + HUGE_PAGE / 2, PAGE, &there) && there & 1)
		madvise(addr, bytes, MADV_POPULATE_WRITE);
	return true;
}

/* Nothing is where a piece was, or is to be. */
static void *map_nothing(void *addr, size_t bytes)
{
	return mmap(addr, bytes, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (addr ? MAP_FIXED : 0), -1, 0);
}

static void close_handle(int fd, uint32_t handle)
{
	struct drm_gem_close gem_close = { .handle = handle };

	drmIoctl(fd, DRM_IOCTL_GEM_CLOSE, &gem_close);
}

/* Map a buffer where its piece is. */
static bool map_piece(const struct accel *a, char *addr, size_t bytes, uint32_t handle, int prot)
{
	struct drm_linnet_bo_mmap_offset map = { .handle = handle };

	return !drmIoctl(a->fd, DRM_IOCTL_LINNET_BO_MMAP_OFFSET, &map) &&
	       mmap(addr, bytes, prot, MAP_SHARED | MAP_FIXED, a->fd, (off_t)map.offset) !=
	       MAP_FAILED;
}

/* Fill in a piece whose place and size are known. flags: DRM_LINNET_ATTACH_*. */
static int piece_open(const struct accel *a, struct accel_region *r, struct piece *p,
		      uint32_t flags, struct linnet_error *err)
{
	char *addr = r->base.addr + p->at;
	/* a huge page at the end would take memory for what is not there */
	const size_t huge = (uintptr_t)addr % HUGE_PAGE ? 0 : p->bytes & ~(HUGE_PAGE - 1);
	struct drm_linnet_bo_create create = { .size = p->bytes };
	struct drm_linnet_attach attach = { .ctx = a->ctx, .flags = flags };
	int ret;

	if (p->bytes > a->info.max_bo_bytes)
		return linnet_err(err, -EFBIG, "region of %zu bytes is larger than the device's "
				  "buffers may be (max_bo_bytes, %llu)", p->bytes,
				  (unsigned long long)a->info.max_bo_bytes);
	if (drmIoctl(a->fd, DRM_IOCTL_LINNET_BO_CREATE, &create))
		return linnet_err(err, -errno, "cannot create a buffer of %zu bytes: %s", p->bytes,
				  strerror(errno));
	attach.handle = create.handle;
	if (!map_piece(a, addr, p->bytes, create.handle, PROT_READ | PROT_WRITE)) {
		ret = linnet_err(err, -errno, "cannot map a buffer of %zu bytes: %s", p->bytes,
				 strerror(errno));
		goto err_close;
	}
	if (r->pages != LINNET_PAGES_SMALL && huge)
		r->base.huge = take_huge_pages(addr, huge);
	/* The device takes all pages at once. */
	if (drmIoctl(a->fd, DRM_IOCTL_LINNET_ATTACH, &attach)) {
		ret = linnet_err(err, -errno, "cannot give the device a buffer of %zu bytes: %s",
				 p->bytes, strerror(errno));
		goto err_close;
	}
	/* Mapped, they are part of what the process is seen to use, and reads find them. */
	madvise(addr, p->bytes, MADV_POPULATE_WRITE);
	p->handle = create.handle;
	p->attachment = attach.attachment;
	return 0;

err_close:
	/* the mapping would keep the pages */
	map_nothing(addr, p->bytes);
	close_handle(a->fd, create.handle);
	return ret;
}

/* Its memory goes when nothing is mapped there any more. */
static void piece_close(const struct accel *a, const struct piece *p)
{
	struct drm_linnet_detach detach = { a->ctx, p->attachment };

	/* what fails here ends with the file */
	if (p->attachment)
		drmIoctl(a->fd, DRM_IOCTL_LINNET_DETACH, &detach);
	close_handle(a->fd, p->handle);
}

/* Have room for one more piece. What is not used of it is not much. */
static bool grow_pieces(struct accel_region *r)
{
	struct piece *all = realloc(r->piece, (r->n_pieces + 1) * sizeof(*all));

	if (all)
		r->piece = all;
	return all;
}

/* Note a piece, for which there is room. */
static void add_piece(struct accel_region *r, const struct piece *p)
{
	const size_t i = piece_behind(r, p->at);

	memmove(r->piece + i + 1, r->piece + i, (r->n_pieces - i) * sizeof(*r->piece));
	r->piece[i] = *p;
	r->n_pieces++;
}

static int take_piece(struct accel *a, struct accel_region *r, size_t offset, size_t bytes,
		      uint32_t flags, struct linnet_error *err)
{
	struct piece p = { .at = offset, .bytes = (bytes + PAGE - 1) & ~(PAGE - 1) };
	int ret;

	if (!grow_pieces(r))
		return linnet_err(err, -ENOMEM, "out of memory");
	ret = piece_open(a, r, &p, flags, err);
	if (!ret)
		add_piece(r, &p);
	return ret;
}

static int accel_region_take(struct linnet_engine *e, struct linnet_region *region, size_t offset,
			     size_t bytes, struct linnet_error *err)
{
	return take_piece(to_accel(e), to_region(region), offset, bytes, 0, err);
}

static void accel_region_discard(struct linnet_engine *e, struct linnet_region *region,
				 size_t offset, size_t bytes)
{
	struct accel *a = to_accel(e);
	struct accel_region *r = to_region(region);
	const size_t first = offset ? piece_behind(r, offset - 1) : 0;
	size_t end = first;

	for (; end < r->n_pieces; end++) {
		const struct piece *p = &r->piece[end];

		if (p->at - offset >= bytes || p->bytes > bytes - (p->at - offset))
			break;
		piece_close(a, p);
		map_nothing(r->base.addr + p->at, p->bytes);
	}
	memmove(r->piece + first, r->piece + end, (r->n_pieces - end) * sizeof(*r->piece));
	r->n_pieces -= end - first;
}

/* The mapping stays: what the kernel takes reads as zeroes, and nobody reads it. */
static int accel_region_idle(struct linnet_engine *e, struct linnet_region *region, size_t offset,
			     size_t bytes)
{
	struct accel *a = to_accel(e);
	struct piece *p = find_piece(region, offset, bytes);
	struct drm_linnet_detach detach = { .ctx = a->ctx };
	struct drm_linnet_bo_madvise advice = { .madv = DRM_LINNET_MADV_DONTNEED };

	if (!p || !p->attachment)
		return 0;
	detach.attachment = p->attachment;
	if (drmIoctl(a->fd, DRM_IOCTL_LINNET_DETACH, &detach))
		return -errno;
	p->attachment = 0;
	advice.handle = p->handle;
	return drmIoctl(a->fd, DRM_IOCTL_LINNET_BO_MADVISE, &advice) ? -errno : 0;
}

static bool accel_region_wake(struct linnet_engine *e, struct linnet_region *region, size_t offset,
			      size_t bytes)
{
	struct accel *a = to_accel(e);
	struct piece *p = find_piece(region, offset, bytes);
	struct drm_linnet_bo_madvise advice = { .madv = DRM_LINNET_MADV_WILLNEED };
	struct drm_linnet_attach attach = { .ctx = a->ctx };

	if (!p || p->attachment)
		return p;
	/* once they are needed nobody takes them any more: only now is it known whether all are
	 * there */
	advice.handle = attach.handle = p->handle;
	if (!drmIoctl(a->fd, DRM_IOCTL_LINNET_BO_MADVISE, &advice) && advice.retained &&
	    !drmIoctl(a->fd, DRM_IOCTL_LINNET_ATTACH, &attach)) {
		p->attachment = attach.attachment;
		return true;
	}
	accel_region_discard(e, region, p->at, p->bytes);
	return false;
}

static int accel_region_reserve(struct linnet_engine *e, struct linnet_region **out, size_t bytes,
				enum linnet_pages pages, struct linnet_error *err)
{
	const size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : PAGE;
	struct accel_region *r;
	uint64_t size;
	size_t head;
	char *p;

	if (linnet_align_overflow(bytes ? bytes : 1, PAGE, &size) || size > SIZE_MAX - align)
		return linnet_err(err, -EOVERFLOW, "region of %zu bytes is too large", bytes);
	r = calloc(1, sizeof(*r));
	if (!r)
		return linnet_err(err, -ENOMEM, "out of memory");
	p = map_nothing(NULL, size + align);
	if (p == MAP_FAILED) {
		int ret = linnet_err(err, -errno, "cannot map %zu bytes of memory: %s", bytes,
				     strerror(errno));

		free(r);
		return ret;
	}
	head = -(uintptr_t)p & (align - 1);
	if (head)
		munmap(p, head);
	munmap(p + head + size, align - head);
	r->base.addr = p + head;
	r->base.bytes = bytes;
	r->base.mapped_bytes = size;
	r->pages = pages;
	*out = &r->base;
	return 0;
}

static void accel_region_destroy(struct linnet_engine *e, struct linnet_region *region)
{
	struct accel *a = to_accel(e);
	struct accel_region *r = to_region(region);

	if (!r)
		return;
	for (size_t i = 0; i < r->n_pieces; i++)
		piece_close(a, &r->piece[i]);
	munmap(r->base.addr, r->base.mapped_bytes);
	free(r->piece);
	free(r);
}

static int accel_region_create(struct linnet_engine *e, struct linnet_region **out, size_t bytes,
			       enum linnet_pages pages, struct linnet_error *err)
{
	int ret = accel_region_reserve(e, out, bytes, pages, err);

	if (ret)
		return ret;
	ret = accel_region_take(e, *out, 0, (*out)->mapped_bytes, err);
	if (ret) {
		accel_region_destroy(e, *out);
		*out = NULL;
	}
	return ret;
}

/* --------------------------------- weights that processes have together: share.h */

/* Jobs only read them. */
static uint32_t share_flags(const struct accel *a)
{
	return a->info.features & DRM_LINNET_FEATURE_READ_ONLY ? DRM_LINNET_ATTACH_READ_ONLY : 0;
}

static const struct piece *shared_piece(const struct linnet_share_unit *u)
{
	return find_piece(u->region, u->at, u->bytes);
}

/*
 * Import a buffer into a file of the device: a handle, or 0 when it is none of the device's own
 * or has not the unit's size. Pages that another driver exports are not ours to rely on.
 */
static uint32_t import(int fd, const struct linnet_share_unit *u, int dma_buf)
{
	struct drm_linnet_bo_info info = { 0 };

	if (lseek(dma_buf, 0, SEEK_END) != (off_t)u->bytes ||
	    drmPrimeFDToHandle(fd, dma_buf, &info.handle))
		return 0;
	if (!drmIoctl(fd, DRM_IOCTL_LINNET_BO_INFO, &info) && info.size == u->bytes &&
	    !(info.state & DRM_LINNET_BO_IMPORTED))
		return info.handle;
	close_handle(fd, info.handle);
	return 0;
}

/*
 * A file has one handle of a buffer, however often that is imported. So what others send is
 * looked at through another file: to close the handle there takes no piece's away.
 */
static bool accel_is_sound(struct linnet_engine *e, const struct linnet_share_unit *u, int dma_buf)
{
	struct accel *a = to_accel(e);
	uint32_t handle;

	if (a->looker < 0)
		a->looker = open(a->path, O_RDWR | O_CLOEXEC);
	handle = a->looker < 0 ? 0 : import(a->looker, u, dma_buf);
	if (handle)
		close_handle(a->looker, handle);
	return handle;
}

static bool accel_share_take(struct linnet_engine *e, const struct linnet_share_unit *u,
			     int dma_buf)
{
	struct accel *a = to_accel(e);
	struct accel_region *r = to_region(u->region);
	const struct piece *own = shared_piece(u);
	struct piece p = { .at = u->at, .bytes = u->bytes };
	struct drm_linnet_attach attach = { .ctx = a->ctx, .flags = share_flags(a) };
	struct drm_linnet_detach detach = { .ctx = a->ctx };
	char *addr = r->base.addr + u->at;

	if (!own && !grow_pieces(r))
		return false;
	p.handle = attach.handle = import(a->fd, u, dma_buf);
	if (!p.handle)
		return false;
	if (drmIoctl(a->fd, DRM_IOCTL_LINNET_ATTACH, &attach))
		goto err_close;
	p.attachment = detach.attachment = attach.attachment;
	if (!map_piece(a, addr, u->bytes, p.handle, PROT_READ))
		goto err_detach;
	madvise(addr, u->bytes, MADV_POPULATE_READ);
	if (own) {
		piece_close(a, own);
		r->piece[own - r->piece] = p;
	} else {
		add_piece(r, &p);
	}
	return true;

err_detach:
	drmIoctl(a->fd, DRM_IOCTL_LINNET_DETACH, &detach);
err_close:
	close_handle(a->fd, p.handle);
	return false;
}

static int accel_share_make(struct linnet_engine *e, const struct linnet_share_unit *u,
			    struct linnet_error *err)
{
	struct accel *a = to_accel(e);

	return shared_piece(u) ? 0 : take_piece(a, to_region(u->region), u->at, u->bytes,
						share_flags(a), err);
}

static int accel_share_give(struct linnet_engine *e, const struct linnet_share_unit *u)
{
	int fd;

	/* nobody can map this descriptor to write to it, but who imports the buffer can */
	if (drmPrimeHandleToFD(to_accel(e)->fd, shared_piece(u)->handle, DRM_CLOEXEC, &fd))
		return -1;
	if (!mprotect(u->region->addr + u->at, u->bytes, PROT_READ))
		return fd;
	close(fd);
	return -1;
}

static void accel_share_drop(struct linnet_engine *e, const struct linnet_share_unit *u)
{
	accel_region_discard(e, u->region, u->at, u->bytes);
}

static const struct linnet_share_ops accel_share = {
	.is_sound = accel_is_sound,
	.take = accel_share_take,
	.make = accel_share_make,
	.give = accel_share_give,
	.drop = accel_share_drop,
};

/* ----------------------------------------------------------------------- streams */

static int accel_stream_scratch(struct linnet_engine *e, const void *data, size_t bytes,
				uint64_t *scratch, struct linnet_error *err)
{
	struct linnet_stream *s;
	int ret = linnet_engine_parse(&s, data, bytes, err);

	if (ret)
		return ret;
	/* the device's own affair */
	*scratch = 0;
	linnet_stream_free(s);
	return 0;
}

static int accel_stream_create(struct linnet_engine *e, struct linnet_engine_stream **out,
			       const void *data, size_t bytes, struct linnet_error *err)
{
	struct accel *a = to_accel(e);
	struct drm_linnet_stream_create create = { .ctx = a->ctx, .ptr = (uintptr_t)data };
	struct linnet_engine_stream *s;
	int ret;

	if (bytes > a->info.max_stream_bytes)
		return linnet_err(err, -E2BIG,
				  "stream of %zu bytes is larger than the device takes "
				  "(max_stream_bytes, %u)",
				  bytes, a->info.max_stream_bytes);
	s = calloc(1, sizeof(*s));
	if (!s)
		return linnet_err(err, -ENOMEM, "out of memory");
	ret = linnet_engine_parse(&s->s, data, bytes, err);
	if (ret)
		goto err_free;
	create.size = (uint32_t)bytes;
	if (drmIoctl(a->fd, DRM_IOCTL_LINNET_STREAM_CREATE, &create)) {
		ret = linnet_err(err, -errno, "the device refused a stream: %s", strerror(errno));
		goto err_free_stream;
	}
	s->id = create.stream;
	*out = s;
	return 0;

err_free_stream:
	linnet_stream_free(s->s);
err_free:
	free(s);
	return ret;
}

static void accel_stream_destroy(struct linnet_engine *e, struct linnet_engine_stream *s)
{
	struct accel *a = to_accel(e);
	struct drm_linnet_stream_destroy destroy;

	if (!s)
		return;
	destroy = (struct drm_linnet_stream_destroy){ a->ctx, s->id };
	drmIoctl(a->fd, DRM_IOCTL_LINNET_STREAM_DESTROY, &destroy);
	linnet_stream_free(s->s);
	free(s);
}

/* --------------------------------------------------------------------- engine */

/* Why a device makes no context. */
static const char *no_context(int error)
{
	switch (error) {
	case ENOSPC:
		return "the device has no room for another user";
	case ENODEV:
		return "the device is gone, or failed and is not used until its driver is bound "
		       "anew";
	case EIO:
		return "the device failed, or is being reset: try again";
	default:
		return strerror(error);
	}
}

static int accel_open(struct linnet_engine **out, const struct linnet_engine_options *opts,
		      struct linnet_error *err)
{
	struct drm_linnet_ctx_create create = { .priority = DRM_LINNET_PRIORITY_NORMAL };
	struct accel *a;
	int ret;

	if (!linnet_queue_is_io_uring(opts->queue))
		return linnet_err(err, -EOPNOTSUPP,
				  "the accel engine needs io_uring, which is not used here%s%s",
				  linnet_queue_refused(opts->queue) ? ": " : "",
				  linnet_queue_refused(opts->queue) ?
				  strerror(-linnet_queue_refused(opts->queue)) : "");
	a = calloc(1, sizeof(*a));
	if (!a)
		return linnet_err(err, -ENOMEM, "out of memory");
	a->looker = -1;
	ret = find_device(a, err);
	if (ret)
		goto err_free;
	if (drmIoctl(a->fd, DRM_IOCTL_LINNET_CTX_CREATE, &create)) {
		ret = linnet_err(err, -errno, "%s", no_context(errno));
		goto err_close;
	}
	a->base.ops = &linnet_engine_accel;
	a->ctx = create.ctx;
	a->queue = opts->queue;
	a->last = &a->first;
	a->max_flights = a->info.max_jobs < LINNET_QUEUE_COMMANDS ? a->info.max_jobs :
			 LINNET_QUEUE_COMMANDS;
	for (unsigned i = a->max_flights; i--;) {
		a->flight[i].next_free = a->free;
		a->free = &a->flight[i];
	}
	linnet_queue_set_worker(a->queue, cancel_unwanted, a);
	*out = &a->base;
	return 0;

err_close:
	close(a->fd);
err_free:
	free(a);
	return ret;
}

static void accel_close(struct linnet_engine *e)
{
	struct accel *a = to_accel(e);

	linnet_queue_set_worker(a->queue, NULL, NULL);
	if (a->looker >= 0)
		close(a->looker);
	close(a->fd);
	free(a);
}

static void accel_info(const struct linnet_engine *e, struct linnet_engine_info *info)
{
	const struct accel *a = (const struct accel *)e;

	info->name = "accel";
	info->isa = a->info.isa;
	info->n_threads = a->info.n_threads;
	info->n_nodes = 1;
	info->scratch_bytes = 0;
	if (__builtin_mul_overflow(a->info.max_bo_bytes, a->info.max_attachments,
				   &info->max_memory_bytes))
		info->max_memory_bytes = UINT64_MAX;
	info->device = a->device;
}

const struct linnet_engine_ops linnet_engine_accel = {
	.name = "accel",
	.in_pieces = true,
	.share = &accel_share,
	.together = 24,
	.open = accel_open,
	.close = accel_close,
	.info = accel_info,
	.region_create = accel_region_create,
	.region_reserve = accel_region_reserve,
	.region_destroy = accel_region_destroy,
	.region_take = accel_region_take,
	.region_discard = accel_region_discard,
	.region_idle = accel_region_idle,
	.region_wake = accel_region_wake,
	.stream_scratch = accel_stream_scratch,
	.stream_create = accel_stream_create,
	.stream_destroy = accel_stream_destroy,
	.submit = accel_submit,
};

#else

static int accel_open(struct linnet_engine **out, const struct linnet_engine_options *opts,
		      struct linnet_error *err)
{
	return linnet_err(err, -EOPNOTSUPP, "the accel engine is not in this build: libdrm was not "
			  "there when it was made");
}

const struct linnet_engine_ops linnet_engine_accel = { .name = "accel", .open = accel_open };

int linnet_device_info(unsigned n, struct linnet_device_info *info)
{
	return -EOPNOTSUPP;
}

#endif
