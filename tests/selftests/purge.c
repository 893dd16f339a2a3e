// SPDX-License-Identifier: MIT
/*
 * Buffers whose contents the kernel may take, and who may not be on that list.
 */
#include "dev.h"

#define SIZE (4u << 20)

/* Make the kernel shrink its caches. */
static void squeeze(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY), i;

	if (fd < 0)
		SKIP("/proc/sys/vm/drop_caches cannot be written (not root)");
	for (i = 0; i < 3; i++)
		CHECK(write(fd, "2", 1) == 1);
	close(fd);
}

TEST(purge_and_refill)
{
	int fd = dev_open(), i;
	uint32_t bo = dev_bo(fd, SIZE), ctx = dev_ctx(fd), att;
	char *map = dev_map(fd, bo, SIZE);
	struct sim s;
	struct sub j;

	for (i = 0; i < 3; i++) {
		memset(map, 1 + i, SIZE);
		CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED), 1);
		CHECK_EQ(dev_bo_state(fd, bo), DRM_LINNET_BO_DONTNEED);
		squeeze();
		CHECK_EQ(dev_bo_state(fd, bo), DRM_LINNET_BO_DONTNEED | DRM_LINNET_BO_PURGED);
		CHECK_EQ(dev_fdinfo(fd, "drm-resident-memory"), 0);
		CHECK_EQ(dev_fdinfo(fd, "drm-purgeable-memory"), 0);
		CHECK(!map[0] && !map[SIZE - 1]);
		CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED), 0);
		CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_WILLNEED), 0);
		CHECK_EQ(dev_bo_state(fd, bo), 0);
		CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_WILLNEED), 1);
		/* The mapping and the device have the same new pages. */
		att = dev_attach(fd, ctx, bo);
		sim_init(&s, 1);
		sim_fill(&s, 0, 9, SIZE);
		sub_init(&j, ctx, sim_create(fd, ctx, &s));
		sub_bind(&j, 0, att, 0, SIZE);
		CHECK_EQ(sub_run(fd, &j), 0);
		CHECK(map[0] == 9 && map[SIZE - 1] == 9);
		CHECK_EQ(dev_detach_(fd, ctx, att), 0);
	}
}

TEST(kept)
{
	int fd = dev_open();
	uint32_t bo = dev_bo(fd, SIZE);
	char *map = dev_map(fd, bo, SIZE);

	memset(map, 1, SIZE);
	squeeze();
	CHECK_EQ(map[0], 1);
	CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED), 1);
	CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_WILLNEED), 1);
	squeeze();
	CHECK(map[0] == 1 && map[SIZE - 1] == 1);
}

TEST(busy)
{
	int fd = dev_open();
	uint32_t bo = dev_bo(fd, SIZE), ctx = dev_ctx(fd), att = dev_attach(fd, ctx, bo);

	errno = 0;
	CHECK(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED) == -1 && errno == EBUSY);
	CHECK_EQ(dev_detach_(fd, ctx, att), 0);
	CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED), 1);
	CHECK_ERR(dev_attach_(fd, ctx, bo, 0, NULL), EBUSY);
	CHECK_ERR(dev_prime_export_(fd, bo), EBUSY);
	CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_WILLNEED), 1);
	dev_attach(fd, ctx, bo);
}

TEST(exported)
{
	int fd = dev_open(), dma_buf;
	uint32_t bo = dev_bo(fd, SIZE);

	dma_buf = dev_prime_export_(fd, bo);
	CHECK(dma_buf >= 0);
	close(dma_buf);
	errno = 0;
	CHECK(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED) == -1 && errno == EBUSY);
	CHECK(dev_bo_state(fd, bo) & DRM_LINNET_BO_EXPORTED);
}

/* A buffer that is closed while it is on the list. */
TEST(closed)
{
	int fd = dev_open(), i;

	for (i = 0; i < 50; i++) {
		uint32_t bo = dev_bo(fd, 65536);

		memset(dev_map(fd, bo, 65536), 1, 65536);
		CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED), 1);
		if (i & 1)
			CHECK_EQ(dev_close_(fd, bo), 0);
	}
	squeeze();
}

static long long available(void)
{
	long long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		(void)!sscanf(line, "MemAvailable: %lld", &kib);
	fclose(f);
	return kib;
}

/* Memory runs short: what nobody needs is taken before a program has to end for it. */
TEST_LIMIT(pressure, 600)
{
	const size_t size = 48u << 20, piece = 1 << 20;
	int fd = dev_open(), status;
	uint32_t bo = dev_bo(fd, size), kept = dev_bo(fd, SIZE);
	char *map = dev_map(fd, kept, SIZE), *p;
	pid_t pid;

	if (available() > 2 << 20)
		SKIP("this machine has too much memory to use it up (more than 2 GiB)");
	memset(map, 7, SIZE);
	memset(dev_map(fd, bo, size), 1, size);
	CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED), 1);
	pid = fork();
	if (!pid) {
		/* the one to end, if it comes to that */
		dev_write("/proc/self/oom_score_adj", "1000");
		while (!(dev_bo_state(fd, bo) & DRM_LINNET_BO_PURGED)) {
			p = mmap(NULL, piece, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			CHECK(p != MAP_FAILED);
			memset(p, 1, piece);
		}
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(dev_fdinfo(fd, "drm-purgeable-memory"), 0);
	CHECK_EQ(dev_fdinfo(fd, "drm-resident-memory"), SIZE);
	CHECK(map[0] == 7 && map[SIZE - 1] == 7);
	CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_WILLNEED), 0);
}

/* Use, purge and return at the same time. */
TEST_LIMIT(race, 300)
{
	unsigned long long end = now_ns() + 2000000000ull;
	int fd = dev_open(), ctl, taken = 0;
	uint32_t bo = dev_bo(fd, 1 << 20), ctx = dev_ctx(fd), att;
	volatile char *map = dev_map(fd, bo, 1 << 20);
	pid_t pid;

	squeeze();
	pid = fork();
	if (!pid) {
		ctl = open("/proc/sys/vm/drop_caches", O_WRONLY);
		while (now_ns() < end)
			CHECK(write(ctl, "2", 1) == 1);
		_exit(0);
	}
	while (now_ns() < end) {
		map[0] = map[(1 << 20) - 1] = 1;
		CHECK(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED) >= 0);
		map[4096] = 1;
		sleep_ms(1);
		if (dev_madvise_(fd, bo, DRM_LINNET_MADV_WILLNEED))
			CHECK(map[0] == 1 && map[(1 << 20) - 1] == 1);
		else
			taken++;
		att = dev_attach(fd, ctx, bo);
		CHECK_EQ(dev_detach_(fd, ctx, att), 0);
	}
	waitpid(pid, NULL, 0);
	CHECK(taken);
}

TEST_MAIN
