/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Buffers: GEM objects in shared memory.
 */
#ifndef __LINNET_GEM_H__
#define __LINNET_GEM_H__

#include <linux/cleanup.h>
#include <linux/list.h>

#include <drm/drm_file.h>
#include <drm/drm_gem_shmem_helper.h>

#include "linnet_device.h"

/**
 * enum linnet_bo_madv - what may happen to the contents
 */
enum linnet_bo_madv {
	/** @LINNET_BO_NEEDED: they are kept. */
	LINNET_BO_NEEDED,
	/** @LINNET_BO_UNNEEDED: the shrinker may take them. */
	LINNET_BO_UNNEEDED,
	/** @LINNET_BO_TAKEN: it did. */
	LINNET_BO_TAKEN,
};

/**
 * struct linnet_bo - a buffer
 *
 * The lock of @base.base.resv protects everything but @lru.
 */
struct linnet_bo {
	/** @base: the GEM object. */
	struct drm_gem_shmem_object base;
	/** @attachments: attachments to contexts; each pins the pages. */
	u32 attachments;
	/** @madv: enum linnet_bo_madv. */
	u8 madv;
	/** @exported: it is or was a dma-buf, and others may know its pages. */
	bool exported;
	/** @lru: in &linnet_device.purgeable, protected by its lock. */
	struct list_head lru;
};

#define to_linnet_bo(obj) container_of(to_drm_gem_shmem_obj(obj), struct linnet_bo, base)

DEFINE_FREE(linnet_gem_put, struct drm_gem_object *, drm_gem_object_put(_T))

struct drm_gem_object *linnet_gem_create_object(struct drm_device *drm, size_t size);
struct drm_gem_object *linnet_gem_prime_import(struct drm_device *drm, struct dma_buf *dma_buf);
unsigned long linnet_gem_purgeable(struct linnet_device *ldev);
void linnet_gem_show_memory(struct drm_printer *p, struct drm_file *file);

/* For attachments: bring in the pages and keep them, and the buffer; undo that. */
int linnet_bo_pin(struct linnet_bo *bo);
void linnet_bo_unpin(struct linnet_bo *bo);

int linnet_shrinker_init(struct linnet_device *ldev);
void linnet_shrinker_fini(struct linnet_device *ldev);

int linnet_ioctl_bo_create(struct drm_device *drm, void *data, struct drm_file *file);
int linnet_ioctl_bo_info(struct drm_device *drm, void *data, struct drm_file *file);
int linnet_ioctl_bo_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file);
int linnet_ioctl_bo_madvise(struct drm_device *drm, void *data, struct drm_file *file);
int linnet_ioctl_bo_wait(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* __LINNET_GEM_H__ */
