// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffers: GEM objects in shared memory.
 *
 * A mapping of a buffer is a mapping of its shmem file, not of the DRM device. So it is
 * memory like any other for the rest of the kernel: O_DIRECT and registered buffers can
 * pin it, mbind() and huge pages work, and it outlives the device. For that the pages
 * must not change behind the driver's back: the inode is immutable, so nobody can punch
 * holes into the file, and only the driver truncates it, when nothing uses the pages.
 *
 * Life of the contents: pages come on first touch or when the buffer is attached to a
 * context. Attached, they are pinned. Declared unneeded (which takes that no context has
 * it and that it was never exported), they are on a list that the shrinker empties.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/shrinker.h>

#include <drm/drm_drv.h>
#include <drm/drm_prime.h>
#include <drm/drm_print.h>
#include <drm/drm_utils.h>

#include "linnet_compat.h"
#include "linnet_gem.h"
#include "linnet_trace.h"

/* Bytes that are in memory now. An imported buffer counts as resident. */
static u64 linnet_gem_resident(const struct drm_gem_object *obj)
{
	if (!obj->filp)
		return obj->size;
	return (u64)READ_ONCE(obj->filp->f_mapping->nrpages) << PAGE_SHIFT;
}

static void linnet_lru_remove(struct linnet_bo *bo)
{
	struct linnet_device *ldev = to_linnet_device(bo->base.base.dev);

	scoped_guard(spinlock, &ldev->lru_lock)
		list_del_init(&bo->lru);
}

static void linnet_gem_free(struct drm_gem_object *obj)
{
	struct linnet_bo *bo = to_linnet_bo(obj);

	linnet_lru_remove(bo);
	drm_WARN_ON(obj->dev, bo->attachments);
	drm_gem_shmem_free(&bo->base);
}

static int linnet_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	int ret;

	if (drm_gem_is_imported(obj))
		return drm_gem_shmem_mmap(to_drm_gem_shmem_obj(obj), vma);

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	vma->vm_private_data = NULL;
	vma->vm_ops = NULL;
	vma->vm_pgoff -= drm_vma_node_start(&obj->vma_node);
	ret = vfs_mmap(obj->filp, vma);
	if (ret)
		return ret;
	vma_set_file(vma, obj->filp);
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	/* The mapping holds the file; the object's reference is not needed. */
	drm_gem_object_put(obj);
	return 0;
}

static struct dma_buf *linnet_gem_export(struct drm_gem_object *obj, int flags)
{
	struct linnet_bo *bo = to_linnet_bo(obj);
	bool needed;

	dma_resv_lock(obj->resv, NULL);
	needed = bo->madv == LINNET_BO_NEEDED;
	bo->exported |= needed;
	dma_resv_unlock(obj->resv);
	return needed ? drm_gem_prime_export(obj, flags) : ERR_PTR(-EBUSY);
}

static const struct drm_gem_object_funcs linnet_gem_funcs = {
	.free = linnet_gem_free,
	.print_info = drm_gem_shmem_object_print_info,
	.export = linnet_gem_export,
	.pin = drm_gem_shmem_object_pin,
	.unpin = drm_gem_shmem_object_unpin,
	.get_sg_table = drm_gem_shmem_object_get_sg_table,
	.vmap = drm_gem_shmem_object_vmap,
	.vunmap = drm_gem_shmem_object_vunmap,
	.mmap = linnet_gem_mmap,
	.vm_ops = &drm_gem_shmem_vm_ops,
};

struct drm_gem_object *linnet_gem_create_object(struct drm_device *drm, size_t size)
{
	struct linnet_bo *bo = kzalloc_obj(*bo, GFP_KERNEL_ACCOUNT);

	if (!bo)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&bo->lru);
	bo->base.base.funcs = &linnet_gem_funcs;
	return &bo->base.base;
}

/* Other drivers' memory is mapped for the one that does DMA. */
struct drm_gem_object *linnet_gem_prime_import(struct drm_device *drm, struct dma_buf *dma_buf)
{
	return drm_gem_prime_import_dev(drm, dma_buf, to_linnet_device(drm)->dma_dev);
}

int linnet_bo_pin(struct linnet_bo *bo)
{
	struct drm_gem_object *obj = &bo->base.base;
	int ret;

	ret = dma_resv_lock_interruptible(obj->resv, NULL);
	if (ret)
		return ret;
	if (bo->madv != LINNET_BO_NEEDED)
		ret = -EBUSY;
	else if (!drm_gem_is_imported(obj))
		ret = drm_gem_shmem_pin_locked(&bo->base);
	if (!ret) {
		bo->attachments++;
		drm_gem_object_get(obj);
	}
	dma_resv_unlock(obj->resv);
	return ret;
}

void linnet_bo_unpin(struct linnet_bo *bo)
{
	struct drm_gem_object *obj = &bo->base.base;

	dma_resv_lock(obj->resv, NULL);
	if (!drm_gem_is_imported(obj))
		drm_gem_shmem_unpin_locked(&bo->base);
	bo->attachments--;
	dma_resv_unlock(obj->resv);
	drm_gem_object_put(obj);
}

static bool linnet_bo_busy(struct linnet_bo *bo)
{
	return !dma_resv_test_signaled(bo->base.base.resv, DMA_RESV_USAGE_BOOKKEEP);
}

int linnet_ioctl_bo_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct linnet_device *ldev = to_linnet_device(drm);
	struct drm_linnet_bo_create *args = data;
	struct drm_gem_shmem_object *shmem;
	int ret;

	if (args->flags || !args->size || !PAGE_ALIGNED(args->size))
		return -EINVAL;
	if (args->size > ldev->info.max_bo_bytes)
		return -E2BIG;

	shmem = drm_gem_shmem_create(drm, args->size);
	if (IS_ERR(shmem))
		return PTR_ERR(shmem);
	/* Jobs write to the pages. */
	shmem->pages_mark_dirty_on_put = true;
	shmem->pages_mark_accessed_on_put = true;
	inode_set_flags(file_inode(shmem->base.filp), S_IMMUTABLE, S_IMMUTABLE);

	ret = drm_gem_handle_create(file, &shmem->base, &args->handle);
	drm_gem_object_put(&shmem->base);
	return ret;
}

int linnet_ioctl_bo_info(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_linnet_bo_info *args = data;
	struct drm_gem_object *obj __free(linnet_gem_put) =
		drm_gem_object_lookup(file, args->handle);
	struct linnet_bo *bo;
	int ret;

	if (!obj)
		return -ENOENT;
	bo = to_linnet_bo(obj);
	ret = dma_resv_lock_interruptible(obj->resv, NULL);
	if (ret)
		return ret;
	args->state = (drm_gem_is_imported(obj) ? DRM_LINNET_BO_IMPORTED : 0) |
		      (bo->exported ? DRM_LINNET_BO_EXPORTED : 0) |
		      (bo->attachments ? DRM_LINNET_BO_ATTACHED : 0) |
		      (bo->madv != LINNET_BO_NEEDED ? DRM_LINNET_BO_DONTNEED : 0) |
		      (bo->madv == LINNET_BO_TAKEN ? DRM_LINNET_BO_PURGED : 0) |
		      (linnet_bo_busy(bo) ? DRM_LINNET_BO_BUSY : 0);
	args->size = obj->size;
	args->resident = linnet_gem_resident(obj);
	dma_resv_unlock(obj->resv);
	return 0;
}

int linnet_ioctl_bo_mmap_offset(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_linnet_bo_mmap_offset *args = data;
	struct drm_gem_object *obj __free(linnet_gem_put) = NULL;
	int ret;

	if (args->flags)
		return -EINVAL;
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	ret = drm_gem_create_mmap_offset(obj);
	if (!ret)
		args->offset = drm_vma_node_offset_addr(&obj->vma_node);
	return ret;
}

int linnet_ioctl_bo_madvise(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct linnet_device *ldev = to_linnet_device(drm);
	struct drm_linnet_bo_madvise *args = data;
	struct drm_gem_object *obj __free(linnet_gem_put) = NULL;
	struct linnet_bo *bo;
	int ret;

	if (args->reserved || args->madv > DRM_LINNET_MADV_DONTNEED)
		return -EINVAL;
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	bo = to_linnet_bo(obj);
	if (drm_gem_is_imported(obj))
		return -EOPNOTSUPP;
	ret = dma_resv_lock_interruptible(obj->resv, NULL);
	if (ret)
		return ret;
	args->retained = bo->madv != LINNET_BO_TAKEN;
	if (args->madv == DRM_LINNET_MADV_WILLNEED) {
		linnet_lru_remove(bo);
		bo->madv = LINNET_BO_NEEDED;
	} else if (bo->attachments || bo->exported || linnet_bo_busy(bo)) {
		ret = -EBUSY;
	} else if (bo->madv == LINNET_BO_NEEDED) {
		bo->madv = LINNET_BO_UNNEEDED;
		scoped_guard(spinlock, &ldev->lru_lock)
			list_move_tail(&bo->lru, &ldev->purgeable);
	}
	dma_resv_unlock(obj->resv);
	return ret;
}

int linnet_ioctl_bo_wait(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_linnet_bo_wait *args = data;
	struct drm_gem_object *obj __free(linnet_gem_put) = NULL;
	long ret;

	if (args->flags)
		return -EINVAL;
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	ret = dma_resv_wait_timeout(obj->resv, DMA_RESV_USAGE_BOOKKEEP, true,
				    drm_timeout_abs_to_jiffies(args->timeout_ns));
	return ret > 0 ? 0 : ret ?: -ETIME;
}

/*
 * The keys of the fdinfo. The helper of the core looks only at the fences for implicit
 * synchronization, and ours are not of that kind; so this counts for itself.
 */
void linnet_gem_show_memory(struct drm_printer *p, struct drm_file *file)
{
	struct drm_memory_stats stats = { };
	struct drm_gem_object *obj;
	int id;

	spin_lock(&file->table_lock);
	idr_for_each_entry(&file->object_idr, obj, id) {
		struct linnet_bo *bo = to_linnet_bo(obj);
		u64 resident = linnet_gem_resident(obj);

		if (drm_gem_object_is_shared_for_memory_stats(obj) || drm_gem_is_imported(obj))
			stats.shared += obj->size;
		else
			stats.private += obj->size;
		stats.resident += resident;
		if (linnet_bo_busy(bo))
			stats.active += obj->size;
		else if (READ_ONCE(bo->madv) == LINNET_BO_UNNEEDED)
			stats.purgeable += resident;
	}
	spin_unlock(&file->table_lock);
	drm_print_memory_stats(p, &stats, DRM_GEM_OBJECT_RESIDENT | DRM_GEM_OBJECT_PURGEABLE |
			       LINNET_GEM_OBJECT_ACTIVE, "memory");
}

/* Called with the object's lock held. Returns the number of pages that were freed. */
static unsigned long linnet_bo_purge(struct linnet_bo *bo)
{
	struct drm_gem_object *obj = &bo->base.base;
	struct linnet_device *ldev = to_linnet_device(obj->dev);
	u64 before, freed;

	/* Waiting here could deadlock; nothing can be in use that is on the list. */
	if (bo->madv != LINNET_BO_UNNEEDED || bo->base.pages || linnet_bo_busy(bo))
		return 0;
	before = linnet_gem_resident(obj);
	shmem_truncate_range(file_inode(obj->filp), 0, (loff_t)-1);
	bo->madv = LINNET_BO_TAKEN;
	linnet_lru_remove(bo);
	freed = before - min(before, linnet_gem_resident(obj));
	atomic64_add(freed, &ldev->purged);
	trace_linnet_bo_purge(bo, freed);
	return freed >> PAGE_SHIFT;
}

/* Pages that the shrinker may take. */
unsigned long linnet_gem_purgeable(struct linnet_device *ldev)
{
	unsigned long pages = 0;
	struct linnet_bo *bo;

	scoped_guard(spinlock, &ldev->lru_lock)
		list_for_each_entry(bo, &ldev->purgeable, lru)
			pages += linnet_gem_resident(&bo->base.base) >> PAGE_SHIFT;
	return pages;
}

static unsigned long linnet_shrinker_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	return linnet_gem_purgeable(shrinker->private_data) ?: SHRINK_EMPTY;
}

/* The oldest buffer of the list, which becomes the youngest, with a reference. */
static struct linnet_bo *linnet_lru_next(struct linnet_device *ldev)
{
	struct linnet_bo *bo, *found = NULL;

	spin_lock(&ldev->lru_lock);
	list_for_each_entry(bo, &ldev->purgeable, lru) {
		if (kref_get_unless_zero(&bo->base.base.refcount)) {
			found = bo;
			list_move_tail(&bo->lru, &ldev->purgeable);
			break;
		}
	}
	spin_unlock(&ldev->lru_lock);
	return found;
}

static unsigned long linnet_shrinker_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct linnet_device *ldev = shrinker->private_data;
	unsigned long freed = 0, tries = 0, limit;
	struct linnet_bo *bo;

	scoped_guard(spinlock, &ldev->lru_lock)
		limit = list_count_nodes(&ldev->purgeable);

	while (freed < sc->nr_to_scan && tries++ < limit) {
		bo = linnet_lru_next(ldev);
		if (!bo)
			break;
		if (dma_resv_trylock(bo->base.base.resv)) {
			freed += linnet_bo_purge(bo);
			dma_resv_unlock(bo->base.base.resv);
		}
		drm_gem_object_put(&bo->base.base);
	}
	return freed ?: SHRINK_STOP;
}

int linnet_shrinker_init(struct linnet_device *ldev)
{
	ldev->shrinker = shrinker_alloc(0, "drm-linnet:%s", dev_name(ldev->drm.dev));
	if (!ldev->shrinker)
		return -ENOMEM;
	ldev->shrinker->count_objects = linnet_shrinker_count;
	ldev->shrinker->scan_objects = linnet_shrinker_scan;
	ldev->shrinker->private_data = ldev;
	shrinker_register(ldev->shrinker);
	return 0;
}

void linnet_shrinker_fini(struct linnet_device *ldev)
{
	shrinker_free(ldev->shrinker);
	ldev->shrinker = NULL;
}
