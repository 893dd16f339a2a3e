// SPDX-License-Identifier: MIT
/*
 * Where DMA goes through bounce buffers, which would have to be copied around each job, the
 * memory is refused. For a guest that was booted with swiotlb=force.
 */
#include "dev.h"

#include <linux/udmabuf.h>

#define SMALL (128u << 10)	/* less than a bounce buffer holds */
#define LARGE (8u << 20)

static void forced(void)
{
	char line[4096] = "";
	FILE *f = fopen("/proc/cmdline", "re");

	CHECK(f && fgets(line, sizeof(line), f));
	fclose(f);
	if (!strstr(line, "swiotlb=force"))
		SKIP("the kernel was not booted with swiotlb=force");
}

/* Another driver's buffer. */
static int foreign(uint64_t size)
{
	int driver = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), dma_buf;
	struct udmabuf_create create = { .size = size };

	if (driver < 0)
		SKIP("there is no /dev/udmabuf");
	create.memfd = memfd_create("linnet", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	CHECK_EQ(ftruncate(create.memfd, size), 0);
	CHECK_EQ(fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	dma_buf = ioctl(driver, UDMABUF_CREATE, &create);
	CHECK(dma_buf >= 0);
	return dma_buf;
}

/* Its pages are at the device through the DMA API alone. */
TEST(imported)
{
	int fd = dev_open();
	uint32_t ctx, bo;

	forced();
	CHECK_EQ(dev_prime_import_(fd, foreign(SMALL), &bo), 0);
	ctx = dev_ctx(fd);
	for (int i = 0; i < 3; i++)
		CHECK_ERR(dev_attach_(fd, ctx, bo, 0, NULL), EOPNOTSUPP);
	CHECK(!(dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED));
	CHECK_EQ(dev_ctx_destroy_(fd, ctx), 0);
}

/*
 * Neighbouring pages are one piece. One that is larger than any bounce buffer is refused by the
 * DMA API itself, at once; whether there is one is chance.
 */
TEST(imported_large)
{
	int fd = dev_open();
	uint32_t bo;

	forced();
	errno = 0;
	if (!dev_prime_import_(fd, foreign(LARGE), &bo))
		CHECK_ERR(dev_attach_(fd, dev_ctx(fd), bo, 0, NULL), EOPNOTSUPP);
	else
		CHECK(errno == EIO || errno == ENOMEM);
}

/* The device's own buffers are refused, too, when the transport has the DMA API between. */
TEST(own)
{
	struct drm_linnet_dev_info info;
	int fd = dev_open();
	uint32_t ctx, bo;

	forced();
	dev_info(fd, &info);
	ctx = dev_ctx(fd);
	bo = dev_bo(fd, LARGE);
	if (info.engine == DRM_LINNET_ENGINE_SIM) {
		dev_attach(fd, ctx, bo);
		return;
	}
	for (int i = 0; i < 3; i++)
		CHECK_ERR(dev_attach_(fd, ctx, bo, 0, NULL), EOPNOTSUPP);
	CHECK(!(dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED));
}

TEST_MAIN
