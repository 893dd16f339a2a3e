/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Parts of the module that are started and stopped with it, and what shows its state.
 */
#ifndef __LINNET_DRV_H__
#define __LINNET_DRV_H__

struct drm_printer;
struct linnet_ctx;
struct linnet_device;
struct linnet_job;

/* linnet_sim.c */
int linnet_sim_init(void);
void linnet_sim_exit(void);

/* linnet_vq.c */
int linnet_vq_init(void);
void linnet_vq_exit(void);

/* linnet_debugfs.c */
void linnet_debugfs_init(struct linnet_device *ldev);
void linnet_print_ctx_locked(struct drm_printer *p, struct linnet_ctx *ctx);
void linnet_print_device_locked(struct drm_printer *p, struct linnet_device *ldev);

/* linnet_dump.c */
int linnet_dump_init(struct linnet_device *ldev);
void linnet_dump_locked(struct linnet_job *job);

#endif /* __LINNET_DRV_H__ */
