/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Parts of the module that are started and stopped with it.
 */
#ifndef __LINNET_DRV_H__
#define __LINNET_DRV_H__

struct linnet_device;

/* linnet_sim.c */
int linnet_sim_init(void);
void linnet_sim_exit(void);

/* linnet_vq.c */
int linnet_vq_init(void);
void linnet_vq_exit(void);

/* linnet_debugfs.c */
void linnet_debugfs_init(struct linnet_device *ldev);

#endif /* __LINNET_DRV_H__ */
