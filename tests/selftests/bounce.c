// SPDX-License-Identifier: MIT
/*
 * Where DMA goes through bounce buffers, which would have to be copied around each job, the
 * memory is refused. For a guest that was booted with swiotlb=force.
 */
#include "dev.h"

#include <linux/udmabuf.h>

#define SIZE (1u << 20)

static void forced(void)
{
	char line[4096] = "";
	FILE *f = fopen("/proc/cmdline", "re");

	CHECK(f && fgets(line, sizeof(line), f));
	fclose(f);
	if (!strstr(line, "swiotlb=force"))
		SKIP("the kernel was not booted with swiotlb=force");
}

/* The pages of another driver's buffer are at the device through the DMA API alone. */
TEST(imported)
{
	int fd = dev_open(), driver = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), dma_buf;
	struct udmabuf_create create = { .size = SIZE };
	uint32_t ctx, bo;

	forced();
	if (driver < 0)
		SKIP("there is no /dev/udmabuf");
	create.memfd = memfd_create("linnet", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	CHECK_EQ(ftruncate(create.memfd, SIZE), 0);
	CHECK_EQ(fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	dma_buf = ioctl(driver, UDMABUF_CREATE, &create);
	CHECK(dma_buf >= 0);
	CHECK_EQ(dev_prime_import_(fd, dma_buf, &bo), 0);
	ctx = dev_ctx(fd);
	for (int i = 0; i < 3; i++)
		CHECK_ERR(dev_attach_(fd, ctx, bo, 0, NULL), EOPNOTSUPP);
	CHECK(!(dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED));
	CHECK_EQ(dev_ctx_destroy_(fd, ctx), 0);
}

/* Its own buffers are, too, when the transport has the DMA API between. */
TEST(own)
{
	struct drm_linnet_dev_info info;
	int fd = dev_open();
	uint32_t ctx, bo;

	forced();
	dev_info(fd, &info);
	ctx = dev_ctx(fd);
	bo = dev_bo(fd, SIZE);
	if (info.engine == DRM_LINNET_ENGINE_SIM) {
		dev_attach(fd, ctx, bo);
		return;
	}
	for (int i = 0; i < 3; i++)
		CHECK_ERR(dev_attach_(fd, ctx, bo, 0, NULL), EOPNOTSUPP);
	CHECK(!(dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED));
}

TEST_MAIN
