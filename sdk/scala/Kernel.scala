package atelier

import java.io.OutputStream

import org.apache.hadoop.security.UserGroupInformation
import org.apache.spark.sql.SparkSession
import org.apache.toree.boot.layer.{
  StandardBareInitialization, StandardComponentInitialization, StandardHandlerInitialization, StandardHookInitialization
}
import org.apache.toree.boot.{CommandLineOptions, KernelBootstrap}
import org.apache.toree.interpreter.{ExecuteError, ExecuteFailure, Results}
import org.apache.toree.kernel.api.KernelLike
import org.apache.toree.kernel.interpreter.scala.ScalaInterpreter
import sun.misc.Signal

import scala.annotation.nowarn

/** Starts Toree with Atelier's helper imported and Spark on its way: `java … atelier.Kernel --profile FILE`. */
object Kernel {
  @nowarn("cat=deprecation") // System.setSecurityManager, which Toree uses
  def main(arguments: Array[String]): Unit = {
    val scratch = sys.env.getOrElse("TMPDIR", "/tmp")
    System.setProperty("java.io.tmpdir", scratch)
    System.setProperty("spark.local.dir", scratch)
    System.setProperty("spark.sql.warehouse.dir", s"file:$scratch/warehouse")
    // A kernel's user has no name, and Hadoop does not start for such a one.
    UserGroupInformation.setLoginUser(UserGroupInformation.createRemoteUser("kernel"))

    // A name of its own: Toree's Scala interpreter would win the name "Scala".
    val plugin = s"Atelier:${classOf[Interpreter].getName}"
    val interpreter = Seq("--interpreter-plugin", plugin, "--default-interpreter", "Atelier")
    val bootstrap = new KernelBootstrap(new CommandLineOptions(arguments ++ interpreter).toConfig)
      with StandardBareInitialization
      with StandardComponentInitialization
      with StandardHandlerInitialization
      with StandardHookInitialization
    val warming = new Thread(() => warmUp(), "spark-warming-up")
    warming.setDaemon(true)
    warming.start()
    bootstrap.initialize()
    // Toree forbids System.exit and ends at the second interrupt within three seconds. Here a cell may end its kernel,
    // and an interrupt ends a cell.
    System.setSecurityManager(null)
    Signal.handle(new Signal("INT"), _ => Interpreter.current.foreach(_.interrupt()))
    bootstrap.waitForTermination()
  }

  /** Spark's first job takes seconds; while a kernel waits for its run they cost nobody anything. */
  private def warmUp(): Unit = SparkSession.builder().getOrCreate().range(1).count()
}

object Interpreter {
  @volatile private[atelier] var current: Option[Interpreter] = None
}

/** Toree's interpreter with compiler errors named, Spark's jobs ended by an interrupt, and the helper imported. */
class Interpreter extends ScalaInterpreter {
  override def init(kernel: KernelLike): org.apache.toree.interpreter.Interpreter = {
    Interpreter.current = Some(this)
    RunFolder.kernel = Some(kernel)
    super.init(kernel)
  }

  override def postInit(): Unit = {
    super.postInit()
    doQuietly(super.interpret("import atelier.Atelier._", silent = true, None))
  }

  override def interpret(
      code: String, silent: Boolean, output: Option[OutputStream]
  ): (Results.Result, Either[Map[String, String], ExecuteFailure]) = {
    val done = super.interpret(code, silent, output)
    // Toree empties its streams by the clock, which may be after it has said that the cell has ended.
    output.foreach(_.flush())
    done match {
      case (result, Right(ExecuteError("Unknown Error", message, trace))) =>
        (result, Right(ExecuteError("CompileError", message.trim, trace)))
      case (result, Right(ExecuteError(name, null, trace))) => (result, Right(ExecuteError(name, "", trace)))
      case other                                            => other
    }
  }

  override def interrupt(): org.apache.toree.interpreter.Interpreter = {
    SparkSession.getDefaultSession.foreach(_.sparkContext.cancelAllJobs())
    super.interrupt()
  }
}
