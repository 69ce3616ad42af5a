# Starts IRkernel with Atelier's functions on the search path: R --file=kernel.R --args CONNECTION_FILE

local({
  script <- sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[[1L]])
  sys.source(file.path(dirname(script), "atelier.R"), envir = attach(NULL, name = "atelier"))

  kernel <- IRkernel:::Kernel$new(connection_file = commandArgs(TRUE)[[1L]])
  # The class is locked; a method of one object is a function whose environment is the object, where it uses its fields.
  executor <- as.environment(kernel$executor)
  redefine <- function(name, method, uses_fields = FALSE) {
    if (uses_fields) environment(method) <- executor
    if (exists(name, executor, inherits = FALSE) && bindingIsLocked(name, executor)) unlockBinding(name, executor)
    assign(name, method, executor)
  }

  # An error is told by its condition's class and message; IRkernel calls every error "ERROR".
  redefine("handle_error", function(e) {
    calls <- IRkernel:::skip_repeated(head(sys.calls()[-seq_len(nframe + 1L)], -3))
    message <- conditionMessage(e)
    name <- if (grepl("^<text>:[0-9]+:[0-9]+:", message)) "parseError" else class(e)[[1L]]
    told <- as.list(c(paste0(IRkernel:::resilient_to_str(e), "Traceback:\n"), IRkernel:::format_stack(calls)))
    err <<- list(ename = name, evalue = message, traceback = told)
    if (!is_silent()) send_response("error", current_request, "iopub", err)
  }, uses_fields = TRUE)
  # A cell that asks for input would wait for ever: nobody is there to answer.
  refuse <- function(asked) {
    stop(asked, " was called, but a run has nobody to answer. Use a parameter instead.", call. = FALSE)
  }
  redefine("readline", function(prompt = "") refuse("readline()"))
  redefine("get_pass", function(msg = "", forcemask = FALSE, noblank = FALSE, stream = "stderr") refuse("getPass()"))

  # IRkernel's quit() only asks the frontend to end the session, and the cell goes on. Here the cell is left, with what it
  # has printed sent, and its reply says with which status R is to end. It ends when it is told to.
  quit <- IRkernel:::backup_env$base_quit
  runs_last <- TRUE
  redefine("quit", function(save = "default", status = 0, runLast = TRUE) {
    status <- suppressWarnings(as.integer(status))
    if (length(status) != 1L || is.na(status)) stop("'status' of quit() must be one whole number", call. = FALSE)
    evaluate::flush_console()
    leaving <- list(message = "quit()", call = NULL, status = status, runs_last = !identical(runLast, FALSE))
    signalCondition(structure(leaving, class = c("atelierQuit", "condition")))
    quit(save = "no", status = status, runLast = leaving$runs_last) # from outside of a cell
  })
  execute <- kernel$executor$execute
  redefine("execute", function(request) {
    leaving <- tryCatch({ execute(request); NULL }, atelierQuit = identity)
    if (is.null(leaving)) return(invisible())
    runs_last <<- leaving$runs_last
    if (!is.null(executor$last_recorded_plot)) kernel$executor$send_plot(executor$last_recorded_plot)
    asked <- list(source = "ask_exit", keepkernel = FALSE, status = leaving$status)
    kernel$send_response("execute_reply", request, "shell", list(
      status = "ok", execution_count = executor$execution_count, payload = list(asked),
      user_expressions = structure(list(), names = character())
    ))
  })
  session <- as.environment(kernel)
  shutdown <- function(request) {
    kernel$send_response("shutdown_reply", request, "control", list(restart = request$content$restart))
    quit(save = "no", runLast = runs_last)
  }
  if (exists("shutdown", session, inherits = FALSE) && bindingIsLocked("shutdown", session)) {
    unlockBinding("shutdown", session)
  }
  assign("shutdown", shutdown, session)

  # R drops what it publishes faster than it is read, unless it may wait (ZMQ_SNDHWM, ZMQ_XPUB_NODROP).
  pbdZMQ::zmq.setsockopt(kernel$sockets$iopub, 23L, 100L)
  pbdZMQ::zmq.setsockopt(kernel$sockets$iopub, 69L, 1L)

  # The last of all finalizers: what is written to connections that a notebook left open is in their files, and what was
  # published has left (ZMQ_LINGER, in milliseconds).
  reg.finalizer(environment(), onexit = TRUE, function(own) {
    closeAllConnections()
    for (socket in kernel$sockets) pbdZMQ::zmq.setsockopt(socket, 17L, 1000L)
    for (socket in kernel$sockets) pbdZMQ::zmq.close(socket)
    pbdZMQ::zmq.ctx.destroy(kernel$zmqctx)
  })
  kernel$run()
})
