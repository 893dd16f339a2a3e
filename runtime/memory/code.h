/* SPDX-License-Identifier: MIT */
/*
 * The program's code while memory is short. Of a process beyond its group's memory.high the
 * kernel takes what a file can replace, and without swap that is code alone: it comes back page
 * by page, each is charged, held back and taken again, and the process never gets as far as giving
 * back what it could. So the pages of code that it needs for that stay, once they are there.
 */
#ifndef LINNET_MEMORY_CODE_H
#define LINNET_MEMORY_CODE_H

/*
 * Keep the pages of this library, and of those that it computes and reads with, from now on until
 * the process ends; none is read for that. May be repeated. RLIMIT_MEMLOCK counts the size of them
 * all, not of what is there: -ENOMEM or -EPERM when it does not allow some.
 */
int linnet_code_keep(void);

#endif
