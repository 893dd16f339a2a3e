/* SPDX-License-Identifier: MIT */
/*
 * What the process of a guest gives up before it listens to the guest: new
 * privileges, core dumps (they would hold the guest's memory), and, when asked to,
 * all system calls but those that serving takes. No file can be opened, no program
 * started and no connection made then.
 */
#ifndef LINNET_DEVICE_SANDBOX_H
#define LINNET_DEVICE_SANDBOX_H

#include <stdbool.h>

/* 0 or -errno and *why. */
int sandbox_enter(bool filter, const char **why);

#endif
