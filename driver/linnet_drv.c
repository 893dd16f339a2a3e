// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entry points of the module: ioctls, file operations, fdinfo, load and unload.
 */
#include <linux/module.h>

#include <drm/drm_accel.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_print.h>

#include "linnet_compat.h"
#include "linnet_ctx.h"
#include "linnet_drv.h"
#include "linnet_gem.h"
#include "linnet_job.h"
#include "linnet_uring.h"

struct workqueue_struct *linnet_wq;

static int linnet_ioctl_dev_query(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct linnet_device *ldev = to_linnet_device(drm);
	struct drm_linnet_dev_query *args = data;
	const u32 size = sizeof(ldev->info);
	void __user *to = u64_to_user_ptr(args->ptr);
	u32 n = min(args->size, size);

	if (args->type != DRM_LINNET_QUERY_DEV_INFO)
		return -EINVAL;
	if (args->ptr) {
		if (args->size > PAGE_SIZE)
			return -E2BIG;
		if (copy_to_user(to, &ldev->info, n))
			return -EFAULT;
		if (clear_user(to + n, args->size - n))
			return -EFAULT;
	}
	args->size = size;
	return 0;
}

#define LINNET_IOCTL(name, func) DRM_IOCTL_DEF_DRV(LINNET_##name, linnet_ioctl_##func, 0)

static const struct drm_ioctl_desc linnet_ioctls[] = {
	LINNET_IOCTL(DEV_QUERY, dev_query),
	LINNET_IOCTL(BO_CREATE, bo_create),
	LINNET_IOCTL(BO_INFO, bo_info),
	LINNET_IOCTL(BO_MMAP_OFFSET, bo_mmap_offset),
	LINNET_IOCTL(BO_MADVISE, bo_madvise),
	LINNET_IOCTL(BO_WAIT, bo_wait),
	LINNET_IOCTL(CTX_CREATE, ctx_create),
	LINNET_IOCTL(CTX_DESTROY, ctx_destroy),
	LINNET_IOCTL(ATTACH, attach),
	LINNET_IOCTL(DETACH, detach),
	LINNET_IOCTL(STREAM_CREATE, stream_create),
	LINNET_IOCTL(STREAM_DESTROY, stream_destroy),
	LINNET_IOCTL(SUBMIT, submit),
	LINNET_IOCTL(CANCEL, cancel),
};

static void linnet_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	struct linnet_file *lfile = file->driver_priv;

	drm_printf(p, "drm-engine-compute:\t%llu ns\n", (u64)atomic64_read(&lfile->busy_ns));
	drm_printf(p, "linnet-jobs:\t%llu\n", (u64)atomic64_read(&lfile->jobs));
	linnet_gem_show_memory(p, file);
}

static const struct file_operations linnet_fops = {
	.owner = THIS_MODULE,
	DRM_ACCEL_FOPS,
	LINNET_FOPS_EXTRA
	.show_fdinfo = drm_show_fdinfo,
#if IS_ENABLED(CONFIG_IO_URING)
	.uring_cmd = linnet_uring_cmd,
#endif
};

const struct drm_driver linnet_drm_driver = {
	.driver_features = DRIVER_COMPUTE_ACCEL | DRIVER_GEM | DRIVER_SYNCOBJ |
			   DRIVER_SYNCOBJ_TIMELINE,
	.open = linnet_file_open,
	.postclose = linnet_file_close,
	.show_fdinfo = linnet_show_fdinfo,
	.gem_create_object = linnet_gem_create_object,
	.gem_prime_import = linnet_gem_prime_import,
	.gem_prime_import_sg_table = drm_gem_shmem_prime_import_sg_table,
	.ioctls = linnet_ioctls,
	.num_ioctls = ARRAY_SIZE(linnet_ioctls),
	.fops = &linnet_fops,
	.name = "linnet",
	.desc = "Linnet accelerator",
	.major = DRM_LINNET_MAJOR,
	.minor = DRM_LINNET_MINOR,
};

static int __init linnet_init(void)
{
	int ret;

	linnet_wq = alloc_workqueue("linnet", WQ_UNBOUND, 0);
	if (!linnet_wq)
		return -ENOMEM;
	ret = linnet_sim_init();
	if (ret)
		goto err_wq;
	ret = linnet_vq_init();
	if (ret)
		goto err_sim;
	return 0;

err_sim:
	linnet_sim_exit();
err_wq:
	destroy_workqueue(linnet_wq);
	return ret;
}

static void __exit linnet_exit(void)
{
	linnet_vq_exit();
	linnet_sim_exit();
	destroy_workqueue(linnet_wq);
	/* Fences that were released are freed by our code. */
	rcu_barrier();
}

module_init(linnet_init);
module_exit(linnet_exit);

MODULE_DESCRIPTION("Linnet accelerator");
MODULE_LICENSE("GPL");
LINNET_IMPORT_NS(DMA_BUF);
