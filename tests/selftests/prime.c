// SPDX-License-Identifier: MIT
/*
 * Buffers of other drivers and for other drivers, as dma-bufs.
 */
#include "dev.h"

#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#define SIZE (1u << 20)

static void fill_by_job(int fd, uint32_t bo, uint8_t value, int expect)
{
	uint32_t ctx = dev_ctx(fd);
	struct sim s;
	struct sub j;

	sim_init(&s, 1);
	sim_fill(&s, 0, value, SIZE);
	sub_init(&j, ctx, sim_create(fd, ctx, &s));
	sub_bind(&j, 0, dev_attach(fd, ctx, bo), 0, SIZE);
	CHECK_EQ(sub_run(fd, &j), expect);
	CHECK_EQ(dev_ctx_destroy_(fd, ctx), 0);
}

TEST(self)
{
	int a = dev_open(), b = dev_open(), dma_buf;
	uint32_t bo = dev_bo(a, SIZE), same, other;
	char *map = dev_map(a, bo, SIZE);

	dma_buf = dev_prime_export_(a, bo);
	CHECK(dma_buf >= 0);
	CHECK_EQ(dev_prime_import_(a, dma_buf, &same), 0);
	CHECK_EQ(same, bo);
	CHECK_EQ(dev_prime_import_(b, dma_buf, &other), 0);
	fill_by_job(b, other, 0x77, 0);
	CHECK(map[0] == 0x77 && map[SIZE - 1] == 0x77);
	CHECK_EQ(dev_fdinfo(b, "drm-shared-memory"), SIZE);
	CHECK(!(dev_bo_state(b, other) & DRM_LINNET_BO_IMPORTED));
	/* The buffer stays with those who have it. */
	close(a);
	close(dma_buf);
	fill_by_job(b, other, 0x78, 0);
	CHECK_EQ(map[0], 0x78);
}

/* The memory of a dma-buf can be mapped, and read into. */
TEST(mmap_dma_buf)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	int fd = dev_open(), dma_buf;
	uint32_t bo = dev_bo(fd, SIZE);
	char *map;

	dma_buf = dev_prime_export_(fd, bo);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dma_buf, 0);
	CHECK(map != MAP_FAILED);
	CHECK_EQ(ioctl(dma_buf, DMA_BUF_IOCTL_SYNC, &sync), 0);
	fill_by_job(fd, bo, 0x31, 0);
	CHECK(map[0] == 0x31 && map[SIZE - 1] == 0x31);
	CHECK_EQ(lseek(dma_buf, 0, SEEK_END), SIZE);
	close(fd);
	close(dma_buf);
	CHECK_EQ(map[5], 0x31);
}

/* Another device of the same driver is another device. */
TEST(two_devices)
{
	char path[64];
	int a = dev_open_nth(0, path, sizeof(path)), b = dev_open_nth(1, path, sizeof(path));
	int dma_buf;
	uint32_t bo = dev_bo(a, SIZE), other;
	char *map = dev_map(a, bo, SIZE);

	dma_buf = dev_prime_export_(a, bo);
	CHECK_EQ(dev_prime_import_(b, dma_buf, &other), 0);
	CHECK(dev_bo_state(b, other) & DRM_LINNET_BO_IMPORTED);
	fill_by_job(b, other, 0x66, 0);
	CHECK(map[0] == 0x66 && map[SIZE - 1] == 0x66);
	fill_by_job(a, bo, 0x67, 0);
	CHECK_EQ(*(char *)dev_map(b, other, SIZE), 0x67);
	/* What belongs to another cannot be given away. */
	CHECK_ERR(dev_madvise_(b, other, DRM_LINNET_MADV_DONTNEED), EOPNOTSUPP);
}

/* A job waits for another driver's users if it is told to, and only then. */
TEST(implicit)
{
	char path[64];
	int a = dev_open_nth(0, path, sizeof(path)), b = dev_open_nth(1, path, sizeof(path)), i;
	uint32_t bo = dev_bo(a, SIZE), other, ctx[2];
	char *map = dev_map(a, bo, SIZE);
	struct sub j[2];
	struct sim s;

	CHECK_EQ(dev_prime_import_(b, dev_prime_export_(a, bo), &other), 0);
	for (i = 0; i < 2; i++) {
		int fd = i ? b : a;

		ctx[i] = dev_ctx(fd);
		sim_init(&s, 1);
		if (!i)
			sim_delay(&s, 300000);
		sim_fill(&s, 0, 1 + i, 16);
		sub_init(&j[i], ctx[i], sim_create(fd, ctx[i], &s));
		sub_bind(&j[i], 0, dev_attach(fd, ctx[i], i ? other : bo), 0, SIZE);
		j[i].args.flags = DRM_LINNET_SUBMIT_IMPLICIT;
	}
	CHECK_EQ(dev_submit_(a, &j[0].args), 0);
	CHECK_EQ(sub_run(b, &j[1]), 0);
	CHECK_EQ(map[0], 2);
	CHECK_EQ(dev_wait_(a, bo, 0), 0);

	for (i = 0; i < 2; i++)
		j[i].args.flags = 0;
	CHECK_EQ(dev_submit_(a, &j[0].args), 0);
	CHECK_EQ(sub_run(b, &j[1]), 0);
	CHECK_EQ(map[0], 2);
	/* A wait sees the jobs of both. */
	CHECK_ERR(dev_wait_(b, other, 0), ETIME);
	CHECK_EQ(dev_wait_(b, other, FOREVER), 0);
	CHECK_EQ(map[0], 1);
}

TEST(udmabuf)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = SIZE };
	int fd = dev_open(), udma = open("/dev/udmabuf", O_RDWR), mem, dma_buf;
	uint32_t bo;
	char *map;

	if (udma < 0)
		SKIP("/dev/udmabuf is not there");
	mem = memfd_create("linnet", MFD_ALLOW_SEALING);
	CHECK(!ftruncate(mem, SIZE));
	CHECK(!fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK));
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	CHECK(map != MAP_FAILED);
	create.memfd = mem;
	dma_buf = ioctl(udma, UDMABUF_CREATE, &create);
	CHECK(dma_buf >= 0);
	CHECK_EQ(dev_prime_import_(fd, dma_buf, &bo), 0);
	CHECK(dev_bo_state(fd, bo) & DRM_LINNET_BO_IMPORTED);
	fill_by_job(fd, bo, 0x21, 0);
	CHECK(map[0] == 0x21 && map[SIZE - 1] == 0x21);
	CHECK_ERR(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED), EOPNOTSUPP);
}

TEST(vgem)
{
	struct drm_mode_create_dumb dumb = { .width = SIZE / 4, .height = 1, .bpp = 32 };
	struct drm_mode_map_dumb offset = { };
	int fd = dev_open(), vgem = -1, i, dma_buf;
	char path[64];
	uint32_t bo;
	char *map;

	for (i = 0; i < 8 && vgem < 0; i++) {
		char name[16] = "";
		struct drm_version v = { .name = name, .name_len = sizeof(name) - 1 };

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		vgem = open(path, O_RDWR);
		if (vgem >= 0 && (ioctl(vgem, DRM_IOCTL_VERSION, &v) || strcmp(name, "vgem"))) {
			close(vgem);
			vgem = -1;
		}
	}
	if (vgem < 0)
		SKIP("the module vgem is not loaded");
	CHECK_EQ(dev_ioctl(vgem, DRM_IOCTL_MODE_CREATE_DUMB, &dumb), 0);
	offset.handle = dumb.handle;
	CHECK_EQ(dev_ioctl(vgem, DRM_IOCTL_MODE_MAP_DUMB, &offset), 0);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vgem, offset.offset);
	CHECK(map != MAP_FAILED);
	/* Theirs to us, and ours to them. */
	dma_buf = dev_prime_export_(vgem, dumb.handle);
	CHECK(dma_buf >= 0);
	CHECK_EQ(dev_prime_import_(fd, dma_buf, &bo), 0);
	fill_by_job(fd, bo, 0x44, 0);
	CHECK(map[0] == 0x44 && map[SIZE - 1] == 0x44);
	dma_buf = dev_prime_export_(fd, dev_bo(fd, SIZE));
	CHECK(dma_buf >= 0);
	CHECK_EQ(dev_prime_import_(vgem, dma_buf, &bo), 0);
}

TEST_MAIN
