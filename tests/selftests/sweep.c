// SPDX-License-Identifier: MIT
/*
 * Each command with its first, second, ... allocation or copy failing: it fails or
 * succeeds, and either way everything can be undone. On any device (LINNET_TEST_NODE),
 * so that what a transport allocates is swept with the rest.
 */
#include "dev.h"

#define SIZE (1u << 20)

static int sweep_fd;

/* What a command is given, and what it gave back. */
struct at {
	char node[64];
	int fd, dma_buf, foreign;
	uint32_t ctx, spare, bo, fresh, unused, att, loose, stream, other, sync, size;
	uint64_t data[64];
	struct drm_linnet_bo_wait wait;
	struct drm_linnet_cancel cancel;
	struct io_uring ring;
	struct sub job;
	void *map;
	bool stopped, reached;
};

/*
 * No more failures. Whether the wanted one was reached; copies to user space fail as well:
 * the one that tells, if the command had too few.
 */
static bool stop_failing(void)
{
	char text[16] = "";
	bool reached = false;

	if (pread(sweep_fd, text, sizeof(text) - 1, 0) > 0)
		reached = !atoi(text);
	else
		CHECK_EQ(errno, EFAULT);
	while (write(sweep_fd, "0", 1) != 1)
		CHECK_EQ(errno, EFAULT);
	return reached;
}

static int do_open(struct at *a)
{
	a->foreign = open(a->node, O_RDWR);
	return a->foreign < 0 ? -1 : 0;
}

static int do_dev_query(struct at *a)
{
	struct drm_linnet_dev_info info;
	struct drm_linnet_dev_query q = { .size = sizeof(info), .ptr = (uintptr_t)&info };

	return dev_ioctl(a->fd, DRM_IOCTL_LINNET_DEV_QUERY, &q);
}

static int do_bo_create(struct at *a)
{
	struct drm_linnet_bo_create args = { .size = SIZE };

	return dev_ioctl(a->fd, DRM_IOCTL_LINNET_BO_CREATE, &args);
}

static int do_bo_info(struct at *a)
{
	struct drm_linnet_bo_info args = { .handle = a->bo };

	return dev_ioctl(a->fd, DRM_IOCTL_LINNET_BO_INFO, &args);
}

static int do_bo_mmap_offset(struct at *a)
{
	struct drm_linnet_bo_mmap_offset args = { .handle = a->unused };

	return dev_ioctl(a->fd, DRM_IOCTL_LINNET_BO_MMAP_OFFSET, &args);
}

static int do_mmap(struct at *a)
{
	struct drm_linnet_bo_mmap_offset args = { .handle = a->unused };

	if (dev_ioctl(a->fd, DRM_IOCTL_LINNET_BO_MMAP_OFFSET, &args))
		return -1;
	a->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, args.offset);
	return a->map == MAP_FAILED ? -1 : 0;
}

static int do_bo_madvise(struct at *a)
{
	return dev_madvise_(a->fd, a->fresh, DRM_LINNET_MADV_DONTNEED) < 0 ? -1 : 0;
}

static int do_bo_wait(struct at *a)
{
	return dev_wait_(a->fd, a->bo, FOREVER);
}

static int do_ctx_create(struct at *a)
{
	struct drm_linnet_ctx_create args = { .priority = DRM_LINNET_PRIORITY_NORMAL };

	return dev_ioctl(a->fd, DRM_IOCTL_LINNET_CTX_CREATE, &args);
}

static int do_ctx_destroy(struct at *a)
{
	return dev_ctx_destroy_(a->fd, a->spare);
}

static int do_attach(struct at *a)
{
	return dev_attach_(a->fd, a->ctx, a->fresh, 0, NULL);
}

static int do_detach(struct at *a)
{
	return dev_detach_(a->fd, a->ctx, a->loose);
}

static int do_stream_create(struct at *a)
{
	return dev_stream_(a->fd, a->ctx, a->data, a->size, NULL);
}

static int do_stream_destroy(struct at *a)
{
	return dev_stream_destroy_(a->fd, a->ctx, a->other);
}

static int do_submit(struct at *a)
{
	return dev_submit_(a->fd, &a->job.args);
}

static int do_cancel(struct at *a)
{
	int ret = dev_cancel_(a->fd, a->ctx, a->cancel.job);

	/* it may have ended before */
	return ret && errno == ENOENT ? 0 : ret;
}

static int do_export(struct at *a)
{
	a->dma_buf = dev_prime_export_(a->fd, a->unused);
	return a->dma_buf < 0 ? -1 : 0;
}

static int do_import(struct at *a)
{
	uint32_t handle;

	return dev_prime_import_(a->foreign, a->dma_buf, &handle);
}

static int do_gem_close(struct at *a)
{
	return dev_close_(a->fd, a->unused);
}

static int ring_go(struct at *a)
{
	struct io_uring_cqe *cqe;
	int ret = io_uring_submit(&a->ring);

	/* what follows is for the test alone */
	a->reached = stop_failing();
	a->stopped = true;
	if (ret <= 0) {
		errno = -ret;
		return ret ? -1 : 0;
	}
	CHECK_EQ(io_uring_wait_cqe(&a->ring, &cqe), 0);
	ret = cqe->res;
	io_uring_cqe_seen(&a->ring, cqe);
	errno = ret < 0 ? -ret : 0;
	return ret < 0 ? -1 : 0;
}

static int do_uring_submit(struct at *a)
{
	dev_prep(&a->ring, a->fd, DRM_LINNET_URING_SUBMIT, &a->job.args, sizeof(a->job.args));
	return ring_go(a);
}

static int do_uring_cancel(struct at *a)
{
	int ret;

	dev_prep(&a->ring, a->fd, DRM_LINNET_URING_CANCEL, &a->cancel, sizeof(a->cancel));
	ret = ring_go(a);
	return ret && errno == ENOENT ? 0 : ret;
}

static int do_uring_bo_wait(struct at *a)
{
	dev_prep(&a->ring, a->fd, DRM_LINNET_URING_BO_WAIT, &a->wait, sizeof(a->wait));
	return ring_go(a);
}

static const struct step {
	const char *name;
	int (*run)(struct at *a);
	bool busy;	/* with a job in flight */
	bool frees;	/* takes something away: that must not need memory */
} steps[] = {
	{ "open", do_open },
	{ "dev_query", do_dev_query },
	{ "bo_create", do_bo_create },
	{ "bo_info", do_bo_info },
	{ "bo_mmap_offset", do_bo_mmap_offset },
	{ "mmap", do_mmap },
	{ "bo_madvise", do_bo_madvise },
	{ "bo_wait", do_bo_wait, .busy = true },
	{ "ctx_create", do_ctx_create },
	{ "ctx_destroy", do_ctx_destroy, .frees = true },
	{ "attach", do_attach },
	{ "detach", do_detach, .frees = true },
	{ "stream_create", do_stream_create },
	{ "stream_destroy", do_stream_destroy, .frees = true },
	{ "submit", do_submit },
	{ "cancel", do_cancel, .busy = true, .frees = true },
	{ "export", do_export },
	{ "import", do_import },
	{ "gem_close", do_gem_close, .frees = true },
	{ "uring_submit", do_uring_submit },
	{ "uring_cancel", do_uring_cancel, .busy = true },
	{ "uring_bo_wait", do_uring_bo_wait, .busy = true },
};

static void prepare(struct at *a, const struct step *step)
{
	a->fd = dev_open_nth(0, a->node, sizeof(a->node));
	a->foreign = a->dma_buf = -1;
	a->ctx = dev_ctx(a->fd);
	a->spare = dev_ctx(a->fd);
	a->bo = dev_bo(a->fd, SIZE);
	a->fresh = dev_bo(a->fd, SIZE);
	a->unused = dev_bo(a->fd, SIZE);
	a->att = dev_attach(a->fd, a->ctx, a->bo);
	a->loose = dev_attach(a->fd, a->ctx, a->bo);
	dev_attach(a->fd, a->spare, a->bo);
	a->size = dev_any_stream(a->fd, a->data);
	CHECK_EQ(dev_stream_(a->fd, a->ctx, a->data, a->size, &a->stream), 0);
	CHECK_EQ(dev_stream_(a->fd, a->ctx, a->data, a->size, &a->other), 0);
	CHECK_EQ(dev_stream_(a->fd, a->spare, a->data, a->size, NULL), 0);
	a->sync = dev_syncobj(a->fd);
	sub_init(&a->job, a->ctx, a->stream);
	sub_bind(&a->job, 0, a->att, 0, 48);
	sub_sync(&a->job, DRM_LINNET_SYNC_SIGNAL, a->sync, 3);
	if (step->busy)
		CHECK_EQ(dev_submit_(a->fd, &a->job.args), 0);
	a->cancel = (struct drm_linnet_cancel){ .ctx = a->ctx, .job = a->job.args.job };
	a->wait = (struct drm_linnet_bo_wait){ .handle = a->bo, .timeout_ns = FOREVER };
	if (step->run == do_import) {
		CHECK_EQ(do_export(a), 0);
		CHECK_EQ(do_open(a), 0);
	}
	CHECK_EQ(io_uring_queue_init(8, &a->ring, 0), 0);
}

/* Whether the n-th failure was reached. */
static bool one_pass(const struct step *step, unsigned int nth)
{
	static struct at at;
	char text[16];
	int ret, err;

	prepare(&at, step);
	snprintf(text, sizeof(text), "%u", nth);
	CHECK(write(sweep_fd, text, strlen(text)) > 0);
	ret = step->run(&at);
	err = errno;
	if (!at.stopped)
		at.reached = stop_failing();
	if (ret) {
		bool ok = err == EFAULT || (!step->frees && (err == ENOMEM || err == ENOSPC));

		if (!ok)
			test_leave(1, "%s with failure %u: errno %d", step->name, nth, err);
	}
	CHECK_EQ(dev_wait_(at.fd, at.bo, FOREVER), 0);
	io_uring_queue_exit(&at.ring);
	return at.reached;
}

/* In a process of its own: a result that could not be copied out may be a file. */
static bool one_pass_alone(const struct step *step, unsigned int nth)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		sweep_fd = open("/proc/thread-self/fail-nth", O_RDWR);
		CHECK(sweep_fd >= 0);
		_exit(one_pass(step, nth) ? 100 : 101);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) < 100)
		_exit(1);	/* it has said why */
	return WEXITSTATUS(status) == 100;
}

TEST_LIMIT(failing_allocations, 900)
{
	const char *page = "/sys/kernel/debug/fail_page_alloc";
	const struct dev_memory before = dev_memory();
	unsigned int i, nth;
	char path[96];

	if (access("/proc/thread-self/fail-nth", W_OK) ||
	    dev_write("/sys/kernel/debug/failslab/ignore-gfp-wait", "N"))
		SKIP("the kernel cannot make allocations fail (CONFIG_FAILSLAB)");
	dev_write("/sys/kernel/debug/failslab/verbose", "0");
	for (i = 0; i < 4; i++) {
		const char *set[][2] = { { "ignore-gfp-wait", "N" }, { "ignore-gfp-highmem", "N" },
					 { "min-order", "0" }, { "verbose", "0" } };

		snprintf(path, sizeof(path), "%s/%s", page, set[i][0]);
		dev_write(path, set[i][1]);
	}
	dev_write("/sys/kernel/debug/fail_usercopy/verbose", "0");
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		/* Buffers have hundreds of pages: all of the first, then some. */
		for (nth = 1; nth < 2000; nth += nth < 60 ? 1 : 37)
			if (!one_pass_alone(&steps[i], nth))
				break;
		/* Arguments are copied in by an ioctl, if nothing else is done. */
		if (nth == 1 && !steps[i].frees)
			test_leave(1, "%s: nothing failed", steps[i].name);
	}
	dev_nothing_left(&before);
}

TEST_MAIN
