# Starts IRkernel with Atelier's functions on the search path: R --file=kernel.R --args CONNECTION_FILE

local({
  script <- sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[[1L]])
  sys.source(file.path(dirname(script), "atelier.R"), envir = attach(NULL, name = "atelier"))

  kernel <- IRkernel:::Kernel$new(connection_file = commandArgs(TRUE)[[1L]])
  # The class is locked; a method of one object is a function whose environment is the object.
  executor <- as.environment(kernel$executor)
  redefine <- function(name, method) {
    environment(method) <- executor
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
  })
  # IRkernel asks its frontend to end the session; here nobody is there to be asked.
  redefine("quit", function(save = "no", status = 0, runLast = FALSE) {
    IRkernel:::backup_env$base_quit(save = "no", status = status, runLast = FALSE)
  })
  kernel$run()
})
