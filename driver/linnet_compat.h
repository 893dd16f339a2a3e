/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that differs between the kernels that the driver is built for: Debian's
 * 6.12 (6.12.117 or newer: it carries the newer interface of the scheduler) and 7.2.
 * No other file asks for the kernel's version.
 */
#ifndef __LINNET_COMPAT_H__
#define __LINNET_COMPAT_H__

#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/io_uring/cmd.h>
#include <linux/mm.h>
#include <linux/version.h>

#include <drm/drm_device.h>
#include <drm/drm_gem.h>

#define LINNET_KERNEL(major, minor) (LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

/* Namespaces of symbols became strings. */
#if LINNET_KERNEL(6, 13)
#define LINNET_IMPORT_NS(ns) MODULE_IMPORT_NS(#ns)
#else
#define LINNET_IMPORT_NS(ns) MODULE_IMPORT_NS(ns)
#endif

#if !LINNET_KERNEL(6, 17)
static inline int vfs_mmap(struct file *file, struct vm_area_struct *vma)
{
	return call_mmap(file, vma);
}
#endif

/* Mapping a buffer into the kernel's address space, with no lock held. */
#if LINNET_KERNEL(6, 16)
#define linnet_gem_vmap(obj, map)	drm_gem_vmap(obj, map)
#define linnet_gem_vunmap(obj, map)	drm_gem_vunmap(obj, map)
#else
#define linnet_gem_vmap(obj, map)	drm_gem_vmap_unlocked(obj, map)
#define linnet_gem_vunmap(obj, map)	drm_gem_vunmap_unlocked(obj, map)
#endif

/* Mappings of huge pages want an aligned address. */
#if LINNET_KERNEL(7, 0)
#define LINNET_FOPS_EXTRA .get_unmapped_area = drm_gem_get_unmapped_area,
#define linnet_huge_mnt_create(drm)	drm_gem_huge_mnt_create(drm, "within_size")
#else
#define LINNET_FOPS_EXTRA
#define linnet_huge_mnt_create(drm)	((void)(drm))
#endif

/*
 * io_uring commands. A function that runs in the submitter's task is defined by
 * LINNET_URING_TASK(name) { ... }; it sees the command as `cmd` and the flags for
 * linnet_uring_done() as `issue_flags`.
 */
#if LINNET_KERNEL(6, 19)
#define LINNET_URING_TASK(name)							\
	static void name##_body(struct io_uring_cmd *cmd, unsigned int issue_flags);	\
	static void name(struct io_tw_req tw_req, io_tw_token_t tw)		\
	{									\
		name##_body(io_uring_cmd_from_tw(tw_req),			\
			    IO_URING_CMD_TASK_WORK_ISSUE_FLAGS);		\
	}									\
	static void name##_body(struct io_uring_cmd *cmd, unsigned int issue_flags)
#else
#define LINNET_URING_TASK(name) \
	static void name(struct io_uring_cmd *cmd, unsigned int issue_flags)
#endif

static inline void linnet_uring_done(struct io_uring_cmd *cmd, int result, u64 result2,
				     unsigned int issue_flags)
{
#if LINNET_KERNEL(6, 18)
	io_uring_cmd_done32(cmd, result, result2, issue_flags);
#else
	io_uring_cmd_done(cmd, result, result2, issue_flags);
#endif
}

#if LINNET_KERNEL(7, 0)
#define linnet_uring_payload(cmd, type)	io_uring_sqe_cmd((cmd)->sqe, type)
#else
#define linnet_uring_payload(cmd, type)	((const type *)io_uring_sqe_cmd((cmd)->sqe))
#endif

/* fdinfo: the active-memory key had no bit of its own. */
#if LINNET_KERNEL(6, 13)
#define LINNET_GEM_OBJECT_ACTIVE	DRM_GEM_OBJECT_ACTIVE
#else
#define LINNET_GEM_OBJECT_ACTIVE	0
#endif

#if !LINNET_KERNEL(6, 13)
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*fn)(struct hrtimer *),
				 clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = fn;
}
#endif

#endif /* __LINNET_COMPAT_H__ */
