/* SPDX-License-Identifier: MIT */
/*
 * The simulated device for tests: one function for each command. Those whose name ends in
 * an underscore return what the ioctl does; the others end the test when it fails.
 * LINNET_TEST_NODE=/dev/accel/accelN has the tests use that device, of whatever engine.
 */
#ifndef LINNET_SELFTESTS_DEV_H
#define LINNET_SELFTESTS_DEV_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <drm/linnet_accel.h>
#include <linnet/stream.h>

#include <liburing.h>

#include "harness.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define FOREVER INT64_MAX

/* Path and file of the n-th simulated device; ends the test when there is none. */
int dev_open_nth(int n, char *path, size_t size);
int dev_open(void);
/* Name of the device that dev_open() opens, as in sysfs. */
void dev_name(char *name, size_t size);
/* Folder of that device in debugfs, or skip. */
void dev_debugfs(char *path, size_t size);
/* Make the next n calls of a kind fail, see linnet_sim.c. */
void dev_fail(const char *what, unsigned int n);
/*
 * A job may keep the device for a minute, so that a slow machine does not end a test: only
 * until dev_hurry(), which a test that passes calls.
 */
void dev_patience(void);
void dev_hurry(void);
/* Wait until that process sleeps in the kernel. */
void dev_asleep(pid_t pid);
/* A number behind "key " in the file linnet_state. */
long long dev_state(const char *key);

/* Write a text to a file; 0 or -1. */
int dev_write(const char *path, const char *text);
/*
 * What there is on the machine of what buffers are made of, in KiB, and pages that are pinned
 * for direct or registered reads.
 */
struct dev_memory {
	long long shmem, pinned;
};

struct dev_memory dev_memory(void);
/* No context, job, page, pin or held buffer of anyone is left, soon. */
void dev_nothing_left(const struct dev_memory *before);
/* A command for a ring, or NULL. */
struct io_uring_sqe *dev_prep(struct io_uring *ring, int fd, uint32_t op, void *args,
			      uint32_t size);

/* As drmIoctl(), but only restarted where the test says so. */
int dev_ioctl(int fd, unsigned long request, void *arg);

void dev_info(int fd, struct drm_linnet_dev_info *info);
uint32_t dev_bo(int fd, uint64_t size);
void *dev_map(int fd, uint32_t handle, uint64_t size);
int dev_close_(int fd, uint32_t handle);
uint32_t dev_bo_state(int fd, uint32_t handle);
int dev_madvise_(int fd, uint32_t handle, uint32_t madv);	/* retained, or -1 */
int dev_wait_(int fd, uint32_t handle, int64_t timeout_ns);
uint32_t dev_ctx_priority(int fd, uint32_t priority);
uint32_t dev_ctx(int fd);
int dev_ctx_destroy_(int fd, uint32_t ctx);
int dev_attach_(int fd, uint32_t ctx, uint32_t handle, uint32_t flags, uint32_t *out);
uint32_t dev_attach(int fd, uint32_t ctx, uint32_t handle);
int dev_detach_(int fd, uint32_t ctx, uint32_t attachment);
int dev_stream_(int fd, uint32_t ctx, const void *data, uint32_t size, uint32_t *out);
int dev_stream_destroy_(int fd, uint32_t ctx, uint32_t stream);
int dev_submit_(int fd, struct drm_linnet_submit *args);
int dev_cancel_(int fd, uint32_t ctx, uint64_t job);

int dev_prime_export_(int fd, uint32_t handle);			/* dma-buf or -1 */
int dev_prime_import_(int fd, int dma_buf, uint32_t *handle);

uint32_t dev_syncobj(int fd);
/* 0, or -1 with errno ETIME. */
int dev_sync_wait_(int fd, uint32_t syncobj, uint64_t point, int64_t timeout_ns);
/* Result of the job that signals a binary sync object: 0 or -errno. */
int dev_sync_result(int fd, uint32_t syncobj);
/* The same, and when it was signalled (CLOCK_MONOTONIC), if that is wanted. */
int dev_sync_result_at(int fd, uint32_t syncobj, uint64_t *ns);

/*
 * Streams. struct sim is built op by op and given to a context.
 */
struct sim {
	struct linnet_stream_header head;
	struct linnet_stream_param param[LINNET_MAX_PARAMS];
	uint32_t n_params, n_ops, n_slots;
	struct drm_linnet_sim_op op[64];
};

void sim_init(struct sim *s, uint32_t n_slots);
struct drm_linnet_sim_op *sim_op(struct sim *s, uint32_t code);
void sim_copy(struct sim *s, uint32_t dst, uint32_t src, uint64_t length);
void sim_fill(struct sim *s, uint32_t dst, uint8_t value, uint64_t length);
void sim_checksum(struct sim *s, uint32_t dst, uint32_t src, uint64_t length);
void sim_delay(struct sim *s, uint64_t us);
/* Serialize to data, which holds sizeof(struct sim); the size. */
uint32_t sim_data(const struct sim *s, void *data);
uint32_t sim_create(int fd, uint32_t ctx, const struct sim *s);
/* A stream of one operation without memory. */
uint32_t sim_simple(int fd, uint32_t ctx, uint32_t code, uint64_t value);
/* A stream of the device's kind, whatever that is, with 48 bytes in slot 0; its size. */
uint32_t dev_any_stream(int fd, void *data);
uint64_t fnv1a(const void *data, size_t n, uint64_t hash);

/*
 * Submissions.
 */
struct sub {
	struct drm_linnet_submit args;
	struct drm_linnet_binding binding[DRM_LINNET_MAX_BINDINGS];
	struct drm_linnet_sync sync[DRM_LINNET_MAX_SYNCS];
};

void sub_init(struct sub *s, uint32_t ctx, uint32_t stream);
void sub_bind(struct sub *s, uint32_t slot, uint32_t attachment, uint64_t offset,
	      uint64_t length);
void sub_sync(struct sub *s, uint32_t flags, uint32_t syncobj, uint64_t point);
/* Submit and wait; the job's result. */
int sub_run(int fd, struct sub *s);

/*
 * A block device for O_DIRECT, with size bytes of known contents: $LINNET_TEST_DISK (which
 * is overwritten), or a loop device; skips when there is neither. Whether n bytes are those
 * at the offset of the device.
 */
int dev_disk(size_t size);
int dev_disk_right(const void *map, size_t offset, size_t n);

/* Bytes, or nanoseconds, behind a key of the file's fdinfo; -1: no such key. */
long long dev_fdinfo(int fd, const char *key);

#endif
