// SPDX-License-Identifier: MIT
/*
 * Buffers: a mapping is ordinary shared memory, its contents are the device's, and the
 * file's fdinfo tells the truth.
 */
#include "dev.h"

#include <liburing.h>
#include <linux/mempolicy.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define SIZE (4u << 20)

TEST(zeroed)
{
	int fd = dev_open(), round;
	size_t i;

	/* The second buffer gets the pages of the first. */
	for (round = 0; round < 4; round++) {
		uint32_t bo = dev_bo(fd, SIZE);
		uint64_t *map = dev_map(fd, bo, SIZE);

		for (i = 0; i < SIZE / 8; i++)
			CHECK(!map[i]);
		memset(map, 0xee, SIZE);
		munmap(map, SIZE);
		CHECK_EQ(dev_close_(fd, bo), 0);
	}
}

TEST(mmap_rejected)
{
	struct drm_linnet_bo_mmap_offset off = { };
	int fd = dev_open();

	off.handle = dev_bo(fd, SIZE);
	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_MMAP_OFFSET, &off), 0);
	CHECK_ERR((intptr_t)mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, off.offset), EINVAL);
	CHECK_ERR((intptr_t)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, off.offset + 4096), EINVAL);
	CHECK_ERR((intptr_t)mmap(NULL, 2 * SIZE, PROT_READ, MAP_SHARED, fd, off.offset), EINVAL);
	/* Another file has no right to it. */
	CHECK_ERR((intptr_t)mmap(NULL, SIZE, PROT_READ, MAP_SHARED, dev_open(), off.offset),
		  EACCES);
}

TEST(direct_read)
{
	int fd = dev_open(), blk = dev_disk(SIZE);
	uint32_t bo = dev_bo(fd, SIZE);
	char *map = dev_map(fd, bo, SIZE);

	CHECK_EQ(pread(blk, map, SIZE, 0), SIZE);
	CHECK(dev_disk_right(map, 0, SIZE));
	/* The same while the device has the buffer. */
	memset(map, 0, SIZE);
	dev_attach(fd, dev_ctx(fd), bo);
	CHECK_EQ(pread(blk, map + 8192, SIZE - 8192, 8192), SIZE - 8192);
	CHECK(dev_disk_right(map + 8192, 8192, SIZE - 8192));
	CHECK(!map[0]);
}

TEST(registered_buffer)
{
	int fd = dev_open(), blk = dev_disk(SIZE);
	char *map = dev_map(fd, dev_bo(fd, SIZE), SIZE);
	struct iovec iov = { map, SIZE };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int ret = io_uring_queue_init(8, &ring, 0);

	if (ret)
		SKIP("io_uring is not there (%s)", strerror(-ret));
	CHECK_EQ(io_uring_register_buffers(&ring, &iov, 1), 0);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read_fixed(sqe, blk, map + 4096, 1 << 20, 4096, 0);
	CHECK_EQ(io_uring_submit_and_wait(&ring, 1), 1);
	CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
	CHECK_EQ(cqe->res, 1 << 20);
	CHECK(dev_disk_right(map + 4096, 4096, 1 << 20));
}

/* What a job writes is what the CPU sees, and the other way round. */
TEST(device_sees_reads)
{
	int fd = dev_open(), blk = dev_disk(SIZE);
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, SIZE + 4096), att = dev_attach(fd, ctx, bo);
	char *map = dev_map(fd, bo, SIZE + 4096);
	uint64_t sum;
	struct sim s;
	struct sub j;

	CHECK_EQ(pread(blk, map, SIZE, 0), SIZE);
	sim_init(&s, 2);
	sim_checksum(&s, 1, 0, SIZE);
	sub_init(&j, ctx, sim_create(fd, ctx, &s));
	sub_bind(&j, 0, att, 0, SIZE);
	sub_bind(&j, 1, att, SIZE, 8);
	CHECK_EQ(sub_run(fd, &j), 0);
	memcpy(&sum, map + SIZE, 8);
	CHECK_EQ(sum, fnv1a(map, SIZE, 0xcbf29ce484222325));
}

TEST(process_vm_readv)
{
	int fd = dev_open();
	char *map = dev_map(fd, dev_bo(fd, SIZE), SIZE), copy[64];
	struct iovec to = { copy, 64 }, from = { map + SIZE - 64, 64 };

	memset(map, 0x42, SIZE);
	CHECK_EQ(process_vm_readv(getpid(), &to, 1, &from, 1, 0), 64);
	CHECK(copy[0] == 0x42 && copy[63] == 0x42);
}

TEST(madvise)
{
	int fd = dev_open();
	uint32_t bo = dev_bo(fd, SIZE);
	char *map = dev_map(fd, bo, SIZE);

	memset(map, 7, SIZE);
	/* Holes would give the CPU other pages than the device has. */
	CHECK_ERR(madvise(map, 4096, MADV_REMOVE), EPERM);
	CHECK_EQ(madvise(map, SIZE, MADV_DONTNEED), 0);
	CHECK(map[0] == 7 && map[SIZE - 1] == 7);
	dev_attach(fd, dev_ctx(fd), bo);
	CHECK_EQ(madvise(map, SIZE, MADV_DONTNEED), 0);
	CHECK(map[0] == 7 && map[SIZE - 1] == 7);
	CHECK_ERR(madvise(map, 4096, MADV_REMOVE), EPERM);
#ifdef MADV_POPULATE_WRITE
	CHECK_EQ(madvise(map, SIZE, MADV_POPULATE_WRITE), 0);
#endif
	CHECK_EQ(mlock(map, 65536), 0);
	CHECK_ERR((intptr_t)mremap(map, SIZE, 2 * SIZE, MREMAP_MAYMOVE), EFAULT);
}

TEST(transparent_huge_pages)
{
	const char *path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	int fd = dev_open(), f = open(path, O_RDWR);
	char line[256] = "", was[64];
	uint64_t size = 8u << 20;
	uint32_t bo;
	FILE *smaps;
	char *map;
	long huge = 0, n;
	uint32_t ctx;
	struct sim s;
	struct sub j;

	if (f < 0)
		SKIP("%s cannot be written (no huge pages, or not root)", path);
	/* "always within_size [advise] never deny force" */
	CHECK(read(f, line, sizeof(line) - 1) > 0);
	CHECK(sscanf(strchr(line, '['), "[%63[a-z_]", was) == 1);
	CHECK(write(f, "advise", 6) == 6);
	bo = dev_bo(fd, size);
	map = dev_map(fd, bo, size);
	CHECK_EQ(madvise(map, size, MADV_HUGEPAGE), 0);
	memset(map, 1, size);
	smaps = fopen("/proc/self/smaps", "r");
	while (smaps && fgets(line, sizeof(line), smaps))
		if (sscanf(line, "ShmemPmdMapped: %ld kB", &n) == 1)
			huge += n;
	CHECK(write(f, was, strlen(was)) == (ssize_t)strlen(was));
	/* The device's view of such pages is the same. */
	ctx = dev_ctx(fd);
	sim_init(&s, 1);
	sim_fill(&s, 0, 9, size - 1);
	sub_init(&j, ctx, sim_create(fd, ctx, &s));
	sub_bind(&j, 0, dev_attach(fd, ctx, bo), 0, size);
	CHECK_EQ(sub_run(fd, &j), 0);
	CHECK(map[0] == 9 && map[size - 2] == 9 && map[size - 1] == 1);
	if (!huge)
		SKIP("the kernel had no huge page");
}

static int node_of(const void *page)
{
	int node = -1;

	CHECK_EQ(syscall(SYS_get_mempolicy, &node, NULL, 0, page, MPOL_F_NODE | MPOL_F_ADDR), 0);
	return node;
}

/* Pages come from the node of the mapping's policy, whoever brings them in. */
TEST(mbind)
{
	int fd = dev_open(), node, by_device;
	uint32_t ctx = dev_ctx(fd), bo;
	unsigned long nodes;
	char path[64], *map;

	for (node = 0; ; node++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", node);
		if (access(path, F_OK))
			break;
		nodes = 1ul << node;
		for (by_device = 0; by_device < 2; by_device++) {
			bo = dev_bo(fd, SIZE);
			map = dev_map(fd, bo, SIZE);
			CHECK_EQ(syscall(SYS_mbind, map, (long)SIZE, MPOL_BIND, &nodes, 64, 0), 0);
			if (by_device)
				dev_attach(fd, ctx, bo);
			else
				memset(map, 1, SIZE);
			CHECK_EQ(node_of(map), node);
			CHECK_EQ(node_of(map + SIZE - 1), node);
		}
	}
	if (!node)
		SKIP("the kernel has no NUMA");
	if (node == 1)
		SKIP("one memory node is no choice");
}

TEST(fork_shares)
{
	int fd = dev_open(), status;
	char *map = dev_map(fd, dev_bo(fd, SIZE), SIZE);

	if (!fork()) {
		map[5] = 55;
		_exit(0);
	}
	wait(&status);
	CHECK_EQ(map[5], 55);
}

/* A mapping outlives handle and file. */
TEST(mapping_survives)
{
	int fd = dev_open();
	uint32_t bo = dev_bo(fd, SIZE);
	char *map = dev_map(fd, bo, SIZE);

	memset(map, 3, SIZE);
	CHECK_EQ(dev_close_(fd, bo), 0);
	CHECK_EQ(map[SIZE - 1], 3);
	close(fd);
	CHECK_EQ(map[0], 3);
	map[0] = 4;
	CHECK_EQ(map[0], 4);
}

TEST(fdinfo)
{
	int fd = dev_open(), dma_buf;
	uint32_t ctx = dev_ctx(fd), bo, att, shared;
	struct sim s;
	struct sub j;
	char *map;
	long long busy;

	CHECK(dev_fdinfo(fd, "drm-client-id") >= 0);
	CHECK_EQ(dev_fdinfo(fd, "drm-total-memory"), 0);
	bo = dev_bo(fd, SIZE);
	CHECK_EQ(dev_fdinfo(fd, "drm-total-memory"), SIZE);
	CHECK_EQ(dev_fdinfo(fd, "drm-resident-memory"), 0);
	CHECK_EQ(dev_fdinfo(fd, "drm-shared-memory"), 0);
	map = dev_map(fd, bo, SIZE);
	memset(map, 1, SIZE / 2);
	CHECK_EQ(dev_fdinfo(fd, "drm-resident-memory"), SIZE / 2);
	att = dev_attach(fd, ctx, bo);
	CHECK_EQ(dev_fdinfo(fd, "drm-resident-memory"), SIZE);
	CHECK_EQ(dev_fdinfo(fd, "drm-active-memory"), 0);

	shared = dev_bo(fd, 65536);
	dma_buf = dev_prime_export_(fd, shared);
	CHECK(dma_buf >= 0);
	CHECK_EQ(dev_fdinfo(fd, "drm-shared-memory"), 65536);
	CHECK_EQ(dev_fdinfo(fd, "drm-total-memory"), SIZE + 65536);

	busy = dev_fdinfo(fd, "drm-engine-compute");
	CHECK_EQ(busy, 0);
	sim_init(&s, 1);
	sim_delay(&s, 200000);
	sub_init(&j, ctx, sim_create(fd, ctx, &s));
	sub_bind(&j, 0, att, 0, 1);
	CHECK_EQ(dev_submit_(fd, &j.args), 0);
	CHECK_EQ(dev_fdinfo(fd, "drm-active-memory"), SIZE);
	CHECK_EQ(dev_wait_(fd, bo, FOREVER), 0);
	CHECK_EQ(dev_fdinfo(fd, "drm-active-memory"), 0);
	busy = dev_fdinfo(fd, "drm-engine-compute");
	CHECK(busy >= 200000000 && busy < 2000000000);
	CHECK_EQ(dev_fdinfo(fd, "linnet-jobs"), 1);

	CHECK_EQ(dev_detach_(fd, ctx, att), 0);
	CHECK_EQ(dev_fdinfo(fd, "drm-purgeable-memory"), 0);
	CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED), 1);
	CHECK_EQ(dev_fdinfo(fd, "drm-purgeable-memory"), SIZE);
	CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_WILLNEED), 1);
	CHECK_EQ(dev_fdinfo(fd, "drm-purgeable-memory"), 0);
}

/* The pages are charged to the control group of who brings them in. */
TEST(memcg)
{
	const char *group = "/sys/fs/cgroup/linnet-test";
	char path[128], line[128];
	long long shmem = -1, n;
	uint32_t bo, big, ctx;
	FILE *f;
	int fd = dev_open();

	f = fopen("/sys/fs/cgroup/cgroup.subtree_control", "w");
	if (!f || fputs("+memory", f) < 0 || fclose(f) || (mkdir(group, 0755) && errno != EEXIST))
		SKIP("no control group for memory");
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	f = fopen(path, "w");
	CHECK(f && fprintf(f, "%d", getpid()) > 0 && !fclose(f));
	ctx = dev_ctx(fd);
	big = dev_bo(fd, 16 * SIZE);
	bo = dev_bo(fd, SIZE);
	dev_attach(fd, ctx, bo);
	snprintf(path, sizeof(path), "%s/memory.stat", group);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "shmem %lld", &n) == 1)
			shmem = n;
	CHECK(shmem >= SIZE);
	/* Beyond the limit there is an error, and no harm. */
	snprintf(path, sizeof(path), "%s/memory.max", group);
	f = fopen(path, "w");
	CHECK(f && fprintf(f, "%u", 3 * SIZE) > 0 && !fclose(f));
	CHECK_ERR(dev_attach_(fd, ctx, big, 0, NULL), ENOMEM);
	CHECK_EQ(dev_bo_state(fd, big), 0);
	CHECK_EQ(dev_bo_state(fd, bo), DRM_LINNET_BO_ATTACHED);
	CHECK_EQ(dev_close_(fd, big), 0);
	dev_attach(fd, dev_ctx(fd), dev_bo(fd, 65536));
}

TEST_MAIN
